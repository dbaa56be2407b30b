"""What is said of Jupyter, and what would be done about it, on made-up machines."""

from __future__ import annotations

from envcheck.facts import Package, Packages, Python
from envcheck.jupyter.examine import Environment, Examined
from envcheck.jupyter.judge import judge
from envcheck.jupyter.model import Kernel, Server, Specification, Start
from envcheck.jupyter.plan import plan
from envcheck.report import Severity, Verdict

ARGV = ["/e/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]


def python(prefix="/p/.venv", **more):
    said = {
        "path": f"{prefix}/bin/python",
        "prefix": prefix,
        "state": "ok",
        "version": "3.12.1",
        "environment_kind": "venv",
        "pip_version": "25.0",
        "site_packages": f"{prefix}/lib/python3.12/site-packages",
        "site_packages_writable": True,
    }
    return Python(**{**said, **more})


def packages(**versions):
    return Packages(installed=[Package(name=name, version=version) for name, version in versions.items()])


def specification(name="k", **more):
    said = {"name": name, "folder": f"/home/ada/kernels/{name}", "found_in": "user", "argv": ARGV, "writable": True}
    return Specification(**{**said, "language": "python", **more})


def seen(*kernels, environment=None, server=None, pythons=None, has=None):
    under_test = environment or python()
    return Examined(
        environment=Environment(python=under_test, packages=has or packages(ipykernel="7.1.0")),
        server=server,
        host=under_test,
        folders=[],
        kernels=list(kernels),
        user_folder="/home/ada/jupyter",
        pythons=pythons or {},
    )


def works(prefix="/p/.venv", **more):
    said = {"interpreter": f"{prefix}/bin/python", "state": "ok", "prefix": prefix, "ipykernel": "7.1.0"}
    return Kernel(specification=specification("good"), start=Start(state="answers"), **{**said, **more})


def test_a_server_whose_interpreter_is_gone_comes_first():
    server = Server(program="/bin/jupyter-lab", reason="PATH", interpreter="/gone/bin/python")
    gone = {"/gone/bin/python": (python("/gone", state="missing"), None)}
    report = judge(seen(works(under_test=True), server=server, pythons=gone))
    assert report.verdict is Verdict.ERROR
    assert report.findings[0].cause == "virtualenv-broken"
    assert "`jupyter-lab` cannot start" in report.summary


def test_a_machine_without_jupyter_is_told_what_to_install():
    nothing = seen()
    nothing = Examined(
        environment=Environment(python=python(), packages=packages(), chosen=False),
        server=None,
        host=nothing.host,
        folders=[],
        kernels=[],
    )
    report = judge(nothing)
    assert (report.verdict, report.findings[0].cause) == (Verdict.ERROR, "package-not-installed")
    assert report.findings[0].remedies[0].commands


def test_an_environment_that_a_notebook_can_use_is_healthy_and_told_how_to_see_its_report():
    report = judge(seen(works(under_test=True), server=Server(program="/bin/jupyter-lab", reason="PATH")))
    assert (report.verdict, report.findings) == (Verdict.OK, [])
    assert report.magic.startswith("%run ")
    installed = packages(ipykernel="7.1.0", **{"envcheck-ml": "0.1.0"})
    assert judge(seen(works(under_test=True), has=installed)).magic == "%load_ext envcheck"


def test_what_was_not_seen_is_unknown_and_never_healthy():
    lost = works(under_test=True)
    lost = Kernel(specification=lost.specification, state="ok", start=Start(state="unknown", detail="no room"))
    assert judge(seen(works(under_test=True), lost)).verdict is Verdict.UNKNOWN


def test_a_module_that_a_kernel_lacks_is_installed_by_the_name_of_its_distribution():
    other = python("/e")
    start = Start(state="ended", exit_code=1, output="Traceback …\nModuleNotFoundError: No module named 'zmq.utils'\n")
    broken = Kernel(
        specification=specification(),
        interpreter="/e/bin/python",
        state="ok",
        ipykernel="7.1.0",
        prefix="/e",
        start=start,
    )
    report = judge(
        seen(works(under_test=True), broken, pythons={"/e/bin/python": (other, packages(ipykernel="7.1.0"))})
    )
    (finding,) = [one for one in report.findings if one.severity is Severity.WARNING]
    assert finding.cause == "package-not-installed"
    assert finding.remedies[0].commands == ["/e/bin/python -m pip install pyzmq"]


def test_a_kernel_that_a_cluster_starts_is_not_judged():
    remote = Kernel(specification=specification("remote", provisioner="yarn", argv=["run"]))
    report = judge(seen(works(under_test=True), remote, server=Server(program="/bin/jupyter-lab", reason="PATH")))
    assert report.findings == []
    assert plan(seen(works(under_test=True), remote)).steps == []


def test_a_kernel_in_the_system_s_folder_is_left_to_the_user_with_the_command():
    dead = Kernel(specification=specification(writable=False, folder="/usr/share/jupyter/kernels/k"), state="missing")
    planned = plan(seen(works(under_test=True), dead))
    assert planned.steps == []
    assert planned.left[0].commands == ["sudo rm -r /usr/share/jupyter/kernels/k"]


def test_a_kernel_that_works_is_never_planned_for():
    assert plan(seen(works(under_test=True), works("/other"))).steps == []


def test_conda_and_lock_files_keep_their_own_environments():
    for own in (
        python(environment_kind="conda", conda_program="mamba"),
        python(project_tool="poetry", project="/p"),
        python("/usr", environment_kind="system", externally_managed=True),
    ):
        planned = plan(seen(environment=own, has=packages(torch="2.9.0")))
        assert planned.steps == []
        assert planned.left[0].title == "ipykernel is not installed in this environment"
        assert planned.left[0].commands


def test_where_jupyter_runs_in_the_environment_itself_ipykernel_is_all_that_is_needed():
    server = Server(program="/p/.venv/bin/jupyter-lab", reason="PATH", prefix="/p/.venv", under_test=True)
    planned = plan(seen(server=server, has=packages(jupyterlab="4.4.0")))
    assert [step.kind for step in planned.steps] == ["install"]


def test_what_frees_a_name_is_done_before_what_takes_it():
    dead = Kernel(specification=specification("p"), state="missing")
    planned = plan(seen(dead, has=packages(torch="2.9.0")))
    assert [step.kind for step in planned.steps] == ["install", "remove", "register"]
    assert planned.steps[-1].name == "p"
    assert planned.steps[-1].display_name == "p (Python 3.12, PyTorch 2.9.0)"
