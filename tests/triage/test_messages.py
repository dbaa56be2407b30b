from __future__ import annotations

from pathlib import Path

import pytest
import tomllib

from envcheck import triage
from envcheck.causes import CAUSES, meaning
from envcheck.check import all_checks
from envcheck.doctor import diagnose, with_metadata
from envcheck.facts import Facts
from envcheck.intent import Intent
from envcheck.messages import recognise, table, weigh
from envcheck.report import Finding, Severity

PASTES = {path.stem: path for path in sorted((Path(__file__).parent / "pastes").glob("*.toml"))}
KNOWN = [cause for part in CAUSES.values() for cause in part]


def pasted(text: str) -> list[Finding]:
    facts = with_metadata(triage.facts_from([("paste", text.encode())]))
    return diagnose(facts, [], all_checks(), Intent()).findings


def wrong(paste: dict[str, object]) -> str:
    found = pasted(str(paste["text"]))
    first = found[0].cause if found else ""
    errors = [finding for finding in found if finding.severity is Severity.ERROR]
    accepted = {paste["cause"], *paste.get("alternates", [])}  # type: ignore[misc, attr-defined]
    if paste["cause"] == "healthy":
        right = not errors
    elif paste["cause"] == "user-code":
        right = not errors or first in accepted
    else:
        right = first in accepted
    return (
        "" if right else f"{paste['cause']} is wanted, {first or 'nothing'} is found in: {str(paste['text'])[:160]!r}"
    )


@pytest.mark.parametrize("name", PASTES)
def test_the_cause_of_every_paste_is_named_first(name: str) -> None:
    pastes = tomllib.loads(PASTES[name].read_text(encoding="utf-8"))["paste"]
    misses = [miss for paste in pastes if (miss := wrong(paste))]
    assert not misses, "\n".join(misses)


def test_every_cause_of_the_vocabulary_has_a_paste_and_a_check() -> None:
    pastes = {
        paste["cause"] for path in PASTES.values() for paste in tomllib.loads(path.read_text(encoding="utf-8"))["paste"]
    }
    checked = {cause for check in all_checks() for cause in check.causes}
    assert set(KNOWN) <= pastes
    assert set(KNOWN) <= checked


def test_every_cause_but_health_has_a_cure() -> None:
    assert set(KNOWN) - {"healthy"} == set(table.cures())


def test_families_and_rules_name_causes_and_signs_that_exist() -> None:
    families = table.families()
    assert len(families) == sum(len(one.family) for one in table.tables().values())
    for row in families.values():
        assert not row.cause or meaning(row.cause), row.id
        assert row.harmless or not row.cause or row.meaning, row.id
        assert row.parts, row.id
    for rule in table.rules():
        signs = [*rule.all, *rule.any, *rule.none]
        assert all(sign in families or sign.startswith(("fact:", "text:")) for sign in signs), rule
        assert meaning(rule.cause), rule
        assert all(meaning(cause) for cause in rule.replaces), rule


def test_a_program_that_fails_by_itself_is_no_fault_of_the_environment() -> None:
    found = pasted("RuntimeError: mat1 and mat2 shapes cannot be multiplied (8x10 and 20x5)")
    assert found[0].cause == "user-code"
    assert all(finding.severity is not Severity.ERROR for finding in found)


def test_source_code_that_a_traceback_quotes_is_not_taken_for_what_was_said() -> None:
    text = """\
Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/torch/cuda/__init__.py", line 300, in _lazy_init
    raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")
ValueError: x
"""
    families = {message.family for message in recognise.recognise(text.splitlines(), [""] * 5)}
    assert "multiprocessing-guard" not in families


def test_a_line_that_the_terminal_wrapped_is_still_recognised() -> None:
    lines = ["RuntimeError: CUDA error: no kernel image is", "available for execution on the device"]
    families = {message.family for message in recognise.recognise(lines, ["a:1", "a:2"])}
    assert "no-kernel-image" in families


def test_a_message_tells_where_it_stood_and_what_it_names() -> None:
    lines = ["first", "ImportError: libcudnn.so.9: cannot open shared object file: No such file or directory"]
    (message,) = [one for one in recognise.recognise(lines, ["a:1", "a:2"]) if one.family == "cuda-library-not-found"]
    assert message.source == "a:2"
    assert message.values["library"] == "libcudnn.so.9"


def test_a_name_from_a_paste_is_quoted_before_it_stands_in_a_command() -> None:
    assert weigh.command("pip show {package}", {"package": "x; rm -rf /"}) == "pip show 'x; rm -rf /'"
    assert weigh.command("pip show {package}", {}) is None


def test_a_cause_that_explains_another_takes_its_place() -> None:
    lines = [
        "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service",
        "SecureBoot enabled",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
    ]
    found = weigh.answers(recognise.recognise(lines, ["", "", ""]), Facts())
    assert found[0].cause == "secure-boot-blocks-driver"
    assert "driver-not-loaded" not in [answer.cause for answer in found]


@pytest.mark.timeout(60)
def test_text_that_repeats_the_words_of_a_family_does_not_stop_the_reader() -> None:
    for row in table.families().values():
        for part in row.parts:
            for hint, _, _ in part.hints:
                text = (hint + "a") * 40
                recognise.places(row, text, text.lower())


def test_a_live_error_and_a_pasted_one_get_the_same_families() -> None:
    text = "OMP: Error #15: Initializing libiomp5md.dll, but found libomp.dll already initialized."
    live = {message.family for message in triage.messages_in(text, "import torch")}
    facts = triage.facts_from([("paste", text.encode())])
    pasted_families = {message.family for message in (facts.messages.found or [])} if facts.messages else set()
    assert "openmp-duplicate" in live & pasted_families
