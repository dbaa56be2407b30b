"""`doctor --gated`: a health check judges what the gate was given."""

from __future__ import annotations

import json
import os
import pathlib

import pytest
from running import MARK, Ran, run_cli

from envcheck.entrypoint import health
from envcheck.intent import Intent
from envcheck.report import Requirement

pytestmark = pytest.mark.skipif(os.name != "posix", reason="containers run Linux")


def asked(tmp_path: pathlib.Path, *args: str, **variables: str) -> Ran:
    env = {
        "ENVCHECK_READY_FILE": str(tmp_path / "ready.json"),
        "ENVCHECK_REQUIRE": None,
        # Another mark for each run would be another question.
        MARK: None,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    return run_cli(args, env={**env, **variables}, cwd=tmp_path)


def requirements(ran: Ran) -> dict[str, str]:
    return {item["text"]: item["state"] for item in ran.report["requirements"]}


def test_what_the_gate_was_given_on_its_line_is_judged_by_the_health_check(tmp_path: pathlib.Path) -> None:
    assert asked(tmp_path, "entrypoint", "--require", "memory>=1MiB", "--", "true").code == 0
    check = ("doctor", "--quick", "--json", "--only", "required-*", "--max-age", "300")
    assert requirements(asked(tmp_path, *check)) == {}
    assert requirements(asked(tmp_path, *check, "--gated")) == {"memory>=1MiB": "holds"}
    again = asked(tmp_path, *check, "--gated")
    assert "age_seconds" in again.report["options"]
    twice = asked(tmp_path, *check, "--gated", ENVCHECK_REQUIRE="memory>=1MiB")
    assert requirements(twice) == {"memory>=1MiB": "holds"}


def test_what_no_longer_holds_makes_the_container_unhealthy(tmp_path: pathlib.Path) -> None:
    started = asked(tmp_path, "entrypoint", "--mode", "warn", "--require", "memory>=900TiB", "--", "true")
    assert started.code == 0
    assert asked(tmp_path, "doctor", "--quick", "--gated", "--quiet").code == 1


def test_what_only_an_imported_framework_can_answer_stays_as_the_gate_judged_it(tmp_path: pathlib.Path) -> None:
    """Without an import it is unknown for ever, and the container never healthy."""
    declared = Intent(requirements=[Requirement(text="torch.cuda"), Requirement(text="gpus>=1")])
    kept = health.intent(declared, str(tmp_path / "nothing.json"))
    assert [one.text for one in kept.requirements] == ["gpus>=1"]


@pytest.mark.parametrize("harm", ["absent", "torn", "another form", "link", "pipe", "writable by others"])
def test_a_readiness_file_that_is_not_what_it_should_be_requires_nothing(tmp_path: pathlib.Path, harm: str) -> None:
    path = tmp_path / "ready.json"
    content = json.dumps({"requirements": [{"text": "gpus>=1"}]})
    if harm == "torn":
        path.write_text(content[:20])
    elif harm == "another form":
        path.write_text('{"requirements": {"text": 1}}')
    elif harm == "link":
        (tmp_path / "elsewhere").write_text(content)
        path.symlink_to(tmp_path / "elsewhere")
    elif harm == "pipe":
        os.mkfifo(path)
    elif harm == "writable by others":
        path.write_text(content)
        path.chmod(0o666)
    assert health.judged(str(path)) == []
    path.unlink(missing_ok=True)
    path.write_text(content)
    path.chmod(0o644)
    assert health.judged(str(path)) == ["gpus>=1"]


def test_gated_is_refused_where_it_has_no_meaning() -> None:
    ran = run_cli(["doctor", "--gated", "--from", "-"])
    assert ran.code == 2
    assert "--gated is for this machine" in ran.stderr
