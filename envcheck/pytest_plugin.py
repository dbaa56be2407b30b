"""A plug-in of pytest: `pytest --envcheck`, fixtures, and the marker `requires`.

    @pytest.mark.requires("gpus>=1", "torch.cuda")
    def test_trains_on_the_gpu(): ...

The marker skips a test with the cause where this environment does not have what it requires; `--strict-env` fails it
instead. The environment is that of the interpreter that runs pytest. It is examined once, when the first test or
fixture asks, or at the start with `--envcheck`; under pytest-xdist once for all workers.

pytest imports this file in every run, so nothing of weight is imported here: a run that does not ask for envcheck pays
for reading this file alone.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from envcheck.doctor import Examined
    from envcheck.facts import Facts, Gpu
    from envcheck.intent import Intent
    from envcheck.report import Report, Requirement

MARKER = "requires"
WAIT_SECONDS = 180.0
"""How long a worker waits for the examination of another one before it makes its own."""
_POLL_SECONDS = 0.05
_SHARED = "envcheck_shared_folder"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("envcheck", "envcheck: the environment that the tests run in")
    group.addoption(
        "--envcheck",
        action="store_true",
        help="examine the environment before the tests and say in the header what is wrong with it",
    )
    group.addoption(
        "--strict-env",
        action="store_true",
        help="fail, instead of skipping, tests whose @pytest.mark.requires does not hold; with --envcheck end the run "
        "where the environment has an error",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f'{MARKER}(requirement, …): skip the test where the environment does not have it, such as "gpus>=1" or '
        '"torch.cuda"; fail it under --strict-env',
    )
    config.stash[_ENVIRONMENT] = Environment(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what was shared with workers."""
    environment = config.stash.get(_ENVIRONMENT, None)
    if environment is not None:
        environment.close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401 - a class of pytest-xdist, which may not be there
    """Tell a worker of pytest-xdist where the workers share the examination."""
    node.workerinput[_SHARED] = node.config.stash[_ENVIRONMENT].shared_folder()


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say the verdict."""
    if not config.getoption("--envcheck") or hasattr(config, "workerinput"):
        return None
    return header(config.stash[_ENVIRONMENT].report())


def header(report: Report) -> str:
    """Return the verdict as a line; the first fault's cause stands in it."""
    from envcheck.render.terminal import clean  # noqa: PLC0415 - see the top

    cause = f" [{report.findings[0].cause}]" if report.verdict.value == "error" and report.findings else ""
    return f"envcheck: {report.verdict.value.upper()}  {' '.join(clean(report.summary).split())}{cause}"


def pytest_sessionstart(session: pytest.Session) -> None:
    """End the run before its tests where the environment must be right and is not."""
    config = session.config
    if not (config.getoption("--envcheck") and config.getoption("--strict-env")) or hasattr(config, "workerinput"):
        return
    report = config.stash[_ENVIRONMENT].report()
    if report.verdict.value in {"error", "unknown"}:
        pytest.exit(f"{header(report)}; envcheck doctor says more", returncode=1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check the form of every requirement, and note whether one of them needs a framework to be imported."""
    if hasattr(config, "workerinput"):
        # pytest-xdist breaks where collection ends early in a worker; there the test itself fails.
        return
    environment = config.stash[_ENVIRONMENT]
    for item in items:
        environment.asked.update(required_by(item))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose requirement does not hold, or fail it."""
    environment = item.config.stash[_ENVIRONMENT]
    try:
        required = required_by(item)
    except pytest.UsageError as error:
        pytest.fail(str(error), pytrace=False)
    for text in required:
        reason = environment.why_not(text)
        if reason is None:
            continue
        if item.config.getoption("--strict-env"):
            pytest.fail(reason, pytrace=False)
        raise pytest.skip.Exception(reason, _use_item_location=True)


def required_by(item: pytest.Item) -> list[str]:
    """Return the requirements of a test's markers.

    Raises:
        pytest.UsageError: a marker is wrong; the message names the test.
    """
    found: list[str] = []
    for marker in item.iter_markers(MARKER):
        if marker.kwargs or not marker.args or not all(isinstance(text, str) for text in marker.args):
            raise pytest.UsageError(
                f'{item.nodeid}: @pytest.mark.requires takes requirements as text: requires("gpus>=1")'
            )
        found += marker.args
    if found:
        from envcheck.intent import UsageError, parse  # noqa: PLC0415 - see the top

        try:
            parse(found, [])
        except UsageError as error:
            sentence = str(error).replace("--require", "@pytest.mark.requires")
            raise pytest.UsageError(f"{item.nodeid}: {sentence}") from error
    return found


class Environment:
    """The environment of this run, examined when it is first asked for."""

    def __init__(self, config: pytest.Config) -> None:
        """Remember the run; nothing is examined yet."""
        self._config = config
        self._worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        self._folder = ""
        self._examined: Examined | None = None
        self._report: Report | None = None
        self._reasons: dict[str, str | None] = {}
        self.asked: set[str] = set()

    def report(self) -> Report:
        """Return the report on what `[tool.envcheck]` declares."""
        if self._report is None:
            from envcheck import configuration  # noqa: PLC0415 - see the top
            from envcheck.intent import UsageError  # noqa: PLC0415
            from envcheck.system import Live  # noqa: PLC0415

            try:
                declared = configuration.read(Live(), [], [])
            except UsageError as error:
                raise pytest.UsageError(f"envcheck: {error}") from error
            self._report = self._judged(declared, whole=True)
        return self._report

    def why_not(self, text: str) -> str | None:
        """Return why a requirement does not hold, with the cause; None where it holds."""
        if text not in self._reasons:
            from envcheck.intent import parse  # noqa: PLC0415 - see the top

            report = self._judged(parse([text], []), whole=False)
            (requirement,) = report.requirements
            self._reasons[text] = None if requirement.state == "holds" else reason_of(requirement, report)
        return self._reasons[text]

    def _judged(self, intent: Intent, *, whole: bool) -> Report:
        from envcheck.check import all_checks  # noqa: PLC0415 - see the top
        from envcheck.doctor import diagnose  # noqa: PLC0415

        examined = self._seen(whole=whole)
        options = {"quick": True} if examined.quick else {}
        return diagnose(examined.facts, examined.probes, all_checks(), intent, options)

    def _seen(self, *, whole: bool) -> Examined:
        """Return what the probes brought; frameworks are imported only where something asks for what that tells."""
        whole = whole or self._config.getoption("--envcheck") or any(map(needs_import, self.asked))
        if self._examined is None or (whole and self._examined.quick):
            self._examined = self._shared_or_own("whole" if whole else "quick")
        return self._examined

    def shared_folder(self) -> str:
        """Return the folder in which the workers of this run share the examination."""
        if not self._folder:
            import tempfile  # noqa: PLC0415 - see the top

            self._folder = tempfile.mkdtemp(prefix="envcheck-pytest-")
            if self._examined is not None:
                _write(os.path.join(self._folder, "whole.json"), self._examined)  # noqa: PTH118
        return self._folder

    def close(self) -> None:
        """Remove the shared folder."""
        if self._folder:
            import shutil  # noqa: PLC0415 - see the top

            shutil.rmtree(self._folder, ignore_errors=True)

    def _shared_or_own(self, depth: str) -> Examined:
        folder = (self._worker or {}).get(_SHARED, "")
        # A worker on another machine has no such folder: its environment is another one.
        if not folder or not os.path.isdir(folder):  # noqa: PTH112 - pathlib costs an import
            return _examine(quick=depth == "quick")
        answer, lock = (os.path.join(folder, f"{depth}.{kind}") for kind in ("json", "lock"))  # noqa: PTH118
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            if os.path.exists(answer):  # noqa: PTH110
                return _read(answer)
            try:
                os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                time.sleep(_POLL_SECONDS)
                continue
            try:
                examined = _examine(quick=depth == "quick")
                _write(answer, examined)
            finally:
                os.unlink(lock)  # noqa: PTH108
            return examined
        return _examine(quick=depth == "quick")


_ENVIRONMENT = pytest.StashKey[Environment]()


def needs_import(text: str) -> bool:
    """Tell whether a requirement can be judged only where a framework was imported: `torch.cuda`, `tensorflow.gpu`."""
    return text.strip().lower().startswith(("torch.", "tensorflow."))


def reason_of(requirement: Requirement, report: Report) -> str:
    """Return a sentence: what is required, what was seen, and the cause that was found."""
    from envcheck.render.terminal import clean  # noqa: PLC0415 - see the top

    seen = "it could not be examined" if requirement.state == "unknown" else requirement.reason
    text = f"requires {requirement.text}: {seen}"
    finding = next((finding for finding in report.findings if finding.required and not finding.muted), None)
    if finding is not None:
        text += f" [{finding.cause}]"
        if not finding.title.startswith("Required is"):
            text += f" {finding.title}"
    return " ".join(clean(text).split())


def _examine(*, quick: bool) -> Examined:
    """Examine the environment of this interpreter."""
    from envcheck.doctor import examine  # noqa: PLC0415 - see the top
    from envcheck.interpreter import choose  # noqa: PLC0415
    from envcheck.probe import all_probes  # noqa: PLC0415
    from envcheck.system import Live  # noqa: PLC0415

    live = Live()
    try:
        return examine(live, choose(live, sys.executable), all_probes(), quick=quick)
    finally:
        live.close()


def _write(path: str, examined: Examined) -> None:
    import msgspec  # noqa: PLC0415 - see the top

    with open(f"{path}.part", "wb") as file:  # noqa: PTH123
        file.write(msgspec.json.encode(examined))
    os.replace(f"{path}.part", path)  # noqa: PTH105 - readers see all of it or nothing


def _read(path: str) -> Examined:
    import msgspec  # noqa: PLC0415 - see the top

    from envcheck.doctor import Examined  # noqa: PLC0415

    with open(path, "rb") as file:  # noqa: PTH123
        return msgspec.json.decode(file.read(), type=Examined)


@pytest.fixture(scope="session")
def envcheck_report(pytestconfig: pytest.Config) -> Report:
    """The report on the environment that the tests run in, judged by what `[tool.envcheck]` declares."""
    return pytestconfig.stash[_ENVIRONMENT].report()


@pytest.fixture(scope="session")
def envcheck_facts(envcheck_report: Report) -> Facts:
    """All that is known of the environment: see envcheck/facts.py."""
    return envcheck_report.facts


@pytest.fixture(scope="session")
def envcheck_gpus(envcheck_facts: Facts) -> list[Gpu]:
    """The NVIDIA GPUs that the driver reports and that answer; empty where there is none."""
    nvml = envcheck_facts.nvml
    return [gpu for gpu in (nvml.gpus if nvml else None) or [] if gpu.state == "ok"]
