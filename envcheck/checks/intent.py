"""What was declared that this environment must have, in `[tool.envcheck]` or with `--require`.

These findings say what fails; where a deeper fault is known, they are folded under it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck import cures
from envcheck.check import check
from envcheck.facts import Facts
from envcheck.intent import Intent, judge, name_in
from envcheck.report import Evidence, Finding, Remedy, Requirement, Severity


def failing(intent: Intent, facts: Facts, names: set[str]) -> Iterator[tuple[str, Requirement]]:
    """Yield the declared requirements of these names that do not hold, each with its name."""
    for requirement in intent.requirements:
        name = name_in(requirement.text)
        if name in names:
            judged = judge(requirement, facts)
            if judged.state == "fails":
                yield name, judged


def _finding(requirement: Requirement, cause: str, remedies: list[Remedy]) -> Finding:
    return Finding(
        cause=cause,
        severity=Severity.ERROR,
        required=True,
        title=f"Required is {requirement.text}: {requirement.reason}",
        evidence=[
            Evidence(requirement.reason, "what was examined"),
            Evidence(f"requirement: {requirement.text}", requirement.source),
        ],
        remedies=remedies,
    )


GPU_CAUSES = {
    "gpus": "no-gpu-present",
    "gpu-memory": "gpu-out-of-memory",
    "compute-capability": "no-gpu-present",
    "driver": "driver-too-old",
    "cuda": "driver-too-old",
}


@check(area="intent", causes=["no-gpu-present", "gpu-out-of-memory", "driver-too-old"])
def required_gpu_properties_hold(intent: Intent, facts: Facts) -> Iterator[Finding]:
    """The GPUs and the driver are what was declared: number, memory, compute capability, driver, CUDA.

    Why: what a project needs it declares; a machine without it is not fit for that project, though nothing is broken.
    If not: use a machine that has it, or lower what is declared.
    Source: `[tool.envcheck]` in pyproject.toml, `--require`; NVML.
    """
    for name, requirement in failing(intent, facts, set(GPU_CAUSES)):
        action = "Use a machine that has it, or lower what is declared"
        if GPU_CAUSES[name] == "driver-too-old":
            action = "Install a newer NVIDIA driver, or lower what is declared"
        yield _finding(
            requirement, GPU_CAUSES[name], [Remedy(action=action, changes="the machine, or the declaration")]
        )


ACCELERATOR_CAUSES = {
    "torch.cuda": "no-gpu-present",
    "tensorflow.gpu": "no-gpu-present",
    "torch.rocm": "no-gpu-present",
    "torch.mps": "mps-unsupported",
    "torch.xpu": "no-gpu-present",
}


@check(
    area="intent",
    causes=["no-gpu-present", "mps-unsupported", "cpu-only-build", "wrong-accelerator-build", "package-not-installed"],
)
def required_accelerator_computes(intent: Intent, facts: Facts) -> Iterator[Finding]:
    """A framework computes on the accelerator that was declared, such as `torch.cuda`.

    Why: a framework that sees no accelerator trains on the processor and says nothing.
    If not: the deepest reason that is known is named; where none is, the machine has no such device.
    Source: `[tool.envcheck]` in pyproject.toml, `--require`; a small product computed on each device.
    """
    for name, requirement in failing(intent, facts, set(ACCELERATOR_CAUSES)):
        framework_name, _, wanted = name.partition(".")
        framework = getattr(facts, framework_name)
        cause, remedies = ACCELERATOR_CAUSES[name], [Remedy(action="Use a machine that has such a device")]
        if framework is None:
            cause, remedies = "package-not-installed", [_install(framework_name, facts)]
        elif framework.accelerator == "cpu":
            cause = "cpu-only-build"
        elif framework.accelerator and wanted not in {framework.accelerator, "gpu"}:
            cause = "wrong-accelerator-build"
        yield _finding(requirement, cause, remedies)


@check(
    area="intent",
    causes=["package-not-installed", "broken-install", "framework-too-old-for-code", "dependency-conflict"],
)
def required_framework_imports(intent: Intent, facts: Facts) -> Iterator[Finding]:
    """A framework that was declared is installed, can be imported, and is of the declared version.

    Why: what a project needs it declares.
    If not: install it into the environment under test, or examine the environment that has it (`--python`).
    Source: `[tool.envcheck]` in pyproject.toml, `--require`; the import in the interpreter under test.
    """
    for name, requirement in failing(intent, facts, {"torch", "tensorflow", "keras"}):
        framework = getattr(facts, name)
        cause = "package-not-installed"
        if framework is not None:
            works = framework.state in {"ok", "not-imported"}
            cause = "framework-too-old-for-code" if works else "broken-install"
        wish = re.sub(r"\s", "", requirement.text)
        yield _finding(requirement, cause, [_install(wish, facts)])


def _install(wish: str, facts: Facts) -> Remedy:
    return Remedy(
        action=f"Install {wish} into the environment under test, or name the environment that has it with --python",
        commands=[f"{cures.installer(facts.python)} {cures.quoted(wish)}"],
        changes="packages of the environment under test",
    )


@check(
    area="intent", causes=["cgroup-limit", "host-out-of-memory", "disk-full", "shm-too-small", "scheduler-allocation"]
)
def required_resources_are_there(intent: Intent, facts: Facts) -> Iterator[Finding]:
    """Memory, disk, shared memory and cores are what was declared.

    Why: what a project needs it declares; a container or a job can have less than its machine.
    If not: start the container or the job with more, free room, or use a larger machine.
    Source: `[tool.envcheck]` in pyproject.toml, `--require`.
    """
    limited = bool(facts.memory and facts.memory.cgroup_limit_bytes)
    throttled = bool(facts.cpu and facts.cpu.quota_cores)
    causes = {
        "memory": ("cgroup-limit" if limited else "host-out-of-memory", "Give the container or job more memory"),
        "cores": ("cgroup-limit" if throttled else "scheduler-allocation", "Give the container or job more cores"),
        "disk": ("disk-full", "Free room in the file system of the environment"),
        "shm": ("shm-too-small", "Start the container with more shared memory (docker run --shm-size=8g)"),
    }
    for name, requirement in failing(intent, facts, set(causes)):
        cause, action = causes[name]
        yield _finding(requirement, cause, [Remedy(action=f"{action}, or use a larger machine")])


@check(area="intent", causes=["python-version-unsupported"])
def required_python_runs(intent: Intent, facts: Facts) -> Iterator[Finding]:
    """The interpreter under test is of the version that was declared.

    Why: code and wheels are made for certain versions of Python.
    If not: make an environment with that version, or name the environment that has it with `--python`.
    Source: `[tool.envcheck]` in pyproject.toml, `--require`.
    """
    for _, requirement in failing(intent, facts, {"python"}):
        action = "Make an environment with a Python of that version, or name one that has it with --python"
        yield _finding(requirement, "python-version-unsupported", [Remedy(action=action)])


@check(area="intent", causes=["docker-daemon-unavailable"])
def required_docker_answers(intent: Intent, facts: Facts) -> Iterator[Finding]:
    """Where Docker was declared, this user may talk to a daemon.

    Why: what a project needs it declares.
    If not: start the daemon, or let the user talk to it.
    Source: `[tool.envcheck]` in pyproject.toml, `--require`; the daemon's socket.
    """
    for _, requirement in failing(intent, facts, {"docker"}):
        start = Remedy(
            action="Start the daemon; where it runs, add the user to the group docker",
            commands=["sudo systemctl start docker", 'sudo usermod -aG docker "$USER"'],
            changes="a service of this machine; who may use Docker",
        )
        yield _finding(requirement, "docker-daemon-unavailable", [start])
