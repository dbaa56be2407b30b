"""Processors, containers, schedulers, WSL and notebooks."""

from __future__ import annotations

import pytest

from envcheck.checks.containers import (
    container_capabilities_include_compute,
    container_kept_its_gpu,
    container_toolkit_is_installed,
    container_was_given_a_gpu,
    docker_daemon_is_reachable,
    image_cuda_runs_on_the_driver,
    scheduler_gave_a_gpu,
)
from envcheck.checks.cpu import (
    architecture_is_native,
    cpu_has_the_instructions,
    interpreter_is_64_bit,
    thread_pools_see_the_cpu_limit,
    thread_settings_fit_the_cores,
)
from envcheck.checks.jupyter import environment_has_a_kernel, kernels_can_start
from envcheck.checks.wsl import wsl_can_reach_a_gpu, wsl_uses_the_windows_driver
from envcheck.facts import (
    ContainerRuntime,
    Cpu,
    DeviceNode,
    Framework,
    Gpu,
    Jupyter,
    Kernel,
    Library,
    NvidiaDriver,
    Nvml,
    OtherAccelerators,
    Package,
    Packages,
    Pci,
    PciDevice,
    Platform,
    Python,
    Variables,
)
from envcheck.intent import Intent
from envcheck.report import CheckOutcome, Confidence, Requirement, Severity
from envcheck.testing import run_check

X86 = Platform(system="Linux", machine="x86_64", container="", wsl=0, emulation="", virtual_machine="", init="systemd")
DOCKER = Platform(system="Linux", machine="x86_64", container="docker", wsl=0, emulation="")
POD = Platform(system="Linux", machine="x86_64", container="kubernetes", wsl=0, emulation="")
NODES = [DeviceNode(path="/dev/nvidia0", mode="0666"), DeviceNode(path="/dev/nvidiactl", mode="0666")]
CUDA_TORCH = Framework(name="torch", state="ok", version="2.9.0", accelerator="cuda", sees_gpu=False)
WORKING = Nvml(state="ok", driver_version="580.95.05", cuda_version="13.0", gpus=[Gpu(index=0, name="NVIDIA L4")])
WANTS_GPU = Intent(requirements=[Requirement(text="gpus>=1")])


def found(check, **groups):
    outcome, findings = run_check(check, **groups)
    assert outcome in {CheckOutcome.PASS, CheckOutcome.FAIL}
    return findings


def commands(finding):
    return [command for remedy in finding.remedies for command in remedy.commands]


def test_more_threads_than_cores_is_a_finding_with_the_right_number():
    cpu = Cpu(allowed_cores=2, affinity_cores=2, quota_cores=0.0)
    variables = Variables(values={"OMP_NUM_THREADS": "16", "MKL_NUM_THREADS": "2"})
    (finding,) = found(thread_settings_fit_the_cores, cpu=cpu, variables=variables)
    assert finding.cause == "thread-oversubscription"
    assert commands(finding) == ["export OMP_NUM_THREADS=2"]


@pytest.mark.parametrize("value", ["2", "1", "auto", "", "2,8"])
def test_thread_settings_within_the_cores_are_left_alone(value):
    cpu = Cpu(allowed_cores=2)
    assert not found(thread_settings_fit_the_cores, cpu=cpu, variables=Variables(values={"OMP_NUM_THREADS": value}))


def test_a_cpu_quota_that_thread_pools_do_not_see_is_told():
    cpu = Cpu(allowed_cores=2, affinity_cores=64, logical_cores=64, quota_cores=2.0)
    (finding,) = found(thread_pools_see_the_cpu_limit, cpu=cpu, variables=Variables(values={}))
    assert "64 threads" in finding.title
    assert "export OMP_NUM_THREADS=2" in commands(finding)
    told = Variables(values={"OMP_NUM_THREADS": "2"})
    assert not found(thread_pools_see_the_cpu_limit, cpu=cpu, variables=told)
    assert not found(thread_pools_see_the_cpu_limit, cpu=cpu, torch=Framework(name="torch", threads=2))
    unlimited = Cpu(allowed_cores=64, affinity_cores=64, quota_cores=0.0)
    assert not found(thread_pools_see_the_cpu_limit, cpu=unlimited)


def test_tensorflow_on_a_processor_without_avx_is_named_as_that():
    cpu = Cpu(model="Intel Celeron J1900", instructions=["sse4_1", "sse4_2"])
    tensorflow = Framework(name="tensorflow", state="crash", signal="SIGILL", metadata_version="2.21.0")
    (finding,) = found(cpu_has_the_instructions, cpu=cpu, platform=X86, tensorflow=tensorflow)
    assert (finding.cause, finding.confidence) == ("cpu-instructions-missing", Confidence.CERTAIN)
    assert "tensorflow-imports" in finding.explains


def test_a_framework_that_imports_has_the_instructions_that_it_needs():
    cpu = Cpu(instructions=["sse4_2"])
    built_here = Framework(name="tensorflow", state="ok", version="2.21.0")
    assert not found(cpu_has_the_instructions, cpu=cpu, platform=X86, tensorflow=built_here)
    modern = Cpu(instructions=["avx", "avx2"])
    waiting = Framework(name="tensorflow", state="not-imported", metadata_version="2.21.0")
    assert not found(cpu_has_the_instructions, cpu=modern, platform=X86, tensorflow=waiting)
    arm = Platform(system="Linux", machine="aarch64")
    assert not found(cpu_has_the_instructions, cpu=Cpu(instructions=["asimd"]), platform=arm, tensorflow=waiting)


def test_an_intel_python_on_an_apple_chip_is_told_where_the_native_one_is():
    mac = Platform(system="Darwin", machine="arm64", emulation="", container="")
    python = Python(machine="x86_64", executable="/usr/local/bin/python3")
    (finding,) = found(
        architecture_is_native, platform=mac, python=python, accelerators=OtherAccelerators(apple_chip="Apple M2")
    )
    assert finding.cause == "cpu-arch-emulated"
    assert any("aarch64" in command for command in commands(finding))
    native = Python(machine="arm64")
    chip = OtherAccelerators(apple_chip="Apple M2")
    assert not found(architecture_is_native, platform=mac, python=native, accelerators=chip)


def test_an_emulated_container_is_the_images_fault():
    emulated = Platform(system="Linux", machine="x86_64", emulation="qemu", container="docker")
    (finding,) = found(architecture_is_native, platform=emulated)
    assert finding.cause == "container-wrong-platform"
    assert commands(finding) == ["docker run --platform linux/arm64 …"]


def test_a_32_bit_interpreter_has_no_framework():
    (finding,) = found(interpreter_is_64_bit, python=Python(bits=32), platform=Platform(system="Windows"))
    assert finding.cause == "platform-unsupported"
    assert not found(interpreter_is_64_bit, python=Python(bits=64))


def test_a_container_that_was_started_without_its_gpu_is_told_the_flag():
    groups = {
        "platform": DOCKER,
        "containers": ContainerRuntime(visible_devices="all", image_cuda="12.4.1"),
        "driver": NvidiaDriver(module_loaded=True, device_nodes=[]),
        "torch": CUDA_TORCH,
    }
    (finding,) = found(container_was_given_a_gpu, **groups)
    assert (finding.cause, finding.severity) == ("container-gpu-not-requested", Severity.WARNING)
    assert "docker run --gpus all …" in commands(finding)
    assert "torch-sees-gpu" not in finding.explains
    assert "*-sees-gpu" in finding.explains
    (finding,) = found(container_was_given_a_gpu, **groups, intent=WANTS_GPU)
    assert (finding.severity, finding.required) == (Severity.ERROR, True)


def test_a_pod_without_a_gpu_is_the_clusters_to_mend():
    containers = ContainerRuntime(visible_devices="", image_cuda="12.4.1")
    (finding,) = found(container_was_given_a_gpu, platform=POD, containers=containers, intent=WANTS_GPU)
    assert finding.cause == "kubernetes-device-plugin"
    assert "    nvidia.com/gpu: 1" in commands(finding)


@pytest.mark.parametrize(
    "groups",
    [
        {"platform": X86, "containers": ContainerRuntime()},
        {"platform": DOCKER, "containers": ContainerRuntime(image_cuda="12.4.1", visible_devices="all")},
        {"platform": DOCKER, "containers": ContainerRuntime(), "torch": CUDA_TORCH},
        {"platform": DOCKER, "containers": ContainerRuntime(image_cuda="12.4.1"), "nvml": WORKING},
        {
            "platform": DOCKER,
            "containers": ContainerRuntime(),
            "driver": NvidiaDriver(module_loaded=True, device_nodes=[]),
        },
    ],
    ids=["no container", "no GPU on the host", "CPU host", "GPU works", "image for the CPU"],
)
def test_a_container_that_nobody_wants_a_gpu_in_hears_nothing(groups):
    assert not found(container_was_given_a_gpu, **groups)


def test_capabilities_without_compute_are_named():
    groups = {"platform": DOCKER, "driver": NvidiaDriver(device_nodes=NODES)}
    lacking = ContainerRuntime(driver_capabilities="graphics,utility")
    (finding,) = found(container_capabilities_include_compute, containers=lacking, **groups)
    assert (finding.cause, finding.severity) == ("container-capabilities-missing", Severity.ERROR)
    for enough in ("", "all", "compute,utility", "utility,compute,video"):
        fine = ContainerRuntime(driver_capabilities=enough)
        assert not found(container_capabilities_include_compute, containers=fine, **groups)


def test_a_container_that_lost_its_gpu_is_told_to_restart():
    lost = Nvml(state="NVML_ERROR_UNKNOWN", message="Unknown Error")
    (finding,) = found(container_kept_its_gpu, platform=DOCKER, nvml=lost, driver=NvidiaDriver(device_nodes=NODES))
    assert finding.cause == "container-lost-gpu"
    assert commands(finding)[0] == "docker restart CONTAINER"
    assert not found(container_kept_its_gpu, platform=X86, nvml=lost)
    assert not found(container_kept_its_gpu, platform=DOCKER, nvml=WORKING)


def test_an_image_whose_cuda_is_too_new_for_the_hosts_driver_is_named():
    old = Nvml(state="ok", driver_version="470.256.02", cuda_version="11.4")
    containers = ContainerRuntime(image_cuda="12.4.1")
    (finding,) = found(image_cuda_runs_on_the_driver, platform=DOCKER, containers=containers, nvml=old)
    assert finding.cause == "container-image-cuda-too-new"
    assert "470.256.02" in finding.title
    assert not found(image_cuda_runs_on_the_driver, platform=DOCKER, containers=containers, nvml=WORKING)
    # Any CUDA 12 runs on a driver of CUDA 12: minor versions are compatible.
    minor = Nvml(state="ok", driver_version="535.183.01", cuda_version="12.2")
    assert not found(image_cuda_runs_on_the_driver, platform=DOCKER, containers=containers, nvml=minor)


def test_docker_beside_a_gpu_without_the_toolkit_is_a_note_until_it_is_asked_for():
    containers = ContainerRuntime(docker_path="/usr/bin/docker", toolkit_path="")
    ubuntu = Platform(system="Linux", container="", wsl=0, distribution="ubuntu", init="systemd")
    (finding,) = found(container_toolkit_is_installed, platform=ubuntu, containers=containers, nvml=WORKING)
    assert (finding.cause, finding.severity) == ("container-toolkit-missing", Severity.NOTE)
    assert commands(finding)[0] == "sudo apt-get install -y nvidia-container-toolkit"
    installed = ContainerRuntime(docker_path="/usr/bin/docker", toolkit_path="/usr/bin/nvidia-ctk")
    assert not found(container_toolkit_is_installed, platform=ubuntu, containers=installed, nvml=WORKING)
    no_docker = ContainerRuntime(docker_path="", toolkit_path="")
    assert not found(container_toolkit_is_installed, platform=ubuntu, containers=no_docker, nvml=WORKING)


def test_a_daemon_that_does_not_run_is_told_from_one_that_may_not_be_talked_to():
    client = {"docker_path": "/usr/bin/docker", "docker_socket_accessible": False}
    (finding,) = found(
        docker_daemon_is_reachable, platform=X86, containers=ContainerRuntime(**client, docker_socket="")
    )
    assert (finding.severity, commands(finding)) == (Severity.NOTE, ["sudo systemctl start docker"])
    closed = ContainerRuntime(**client, docker_socket="/var/run/docker.sock")
    required = Intent(requirements=[Requirement(text="docker")])
    (finding,) = found(docker_daemon_is_reachable, platform=X86, containers=closed, intent=required)
    assert (finding.severity, finding.required) == (Severity.ERROR, True)
    assert commands(finding) == ["sudo usermod -aG docker $USER"]


def test_machines_without_docker_and_containers_with_its_client_hear_nothing():
    absent = ContainerRuntime(docker_path="", docker_socket="")
    assert not found(docker_daemon_is_reachable, platform=X86, containers=absent)
    client = ContainerRuntime(docker_path="/usr/bin/docker", docker_socket="", docker_socket_accessible=False)
    assert not found(docker_daemon_is_reachable, platform=DOCKER, containers=client)


def test_a_slurm_job_without_a_gpu_on_a_node_with_gpus_is_told_the_line():
    node = {"pci": Pci(devices=[PciDevice(address="0000:01:00.0", vendor_id="10de")]), "torch": CUDA_TORCH}
    job = Variables(values={"SLURM_JOB_ID": "42", "SLURM_JOB_PARTITION": "gpu"})
    (finding,) = found(scheduler_gave_a_gpu, variables=job, **node)
    assert (finding.cause, finding.severity) == ("scheduler-allocation", Severity.WARNING)
    assert "#SBATCH --gres=gpu:1" in commands(finding)
    none_given = Variables(values={"SLURM_JOB_ID": "42", "CUDA_VISIBLE_DEVICES": "NoDevFiles"})
    (finding,) = found(scheduler_gave_a_gpu, variables=none_given)
    assert finding.confidence is Confidence.CERTAIN


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"SLURM_JOB_ID": "42", "CUDA_VISIBLE_DEVICES": "0"},
        {"SLURM_JOB_ID": "42", "SLURM_JOB_GPUS": "3"},
        {"SLURM_JOB_ID": "42"},
    ],
    ids=["no job", "given by variable", "given by Slurm", "nobody wants one"],
)
def test_jobs_that_got_what_they_asked_for_hear_nothing(values):
    assert not found(scheduler_gave_a_gpu, variables=Variables(values=values))


def test_wsl_1_has_no_gpu_and_only_who_wants_one_is_told():
    wsl = Platform(system="Linux", wsl=1, container="", kernel_release="4.4.0-19041-Microsoft")
    assert not found(wsl_can_reach_a_gpu, platform=wsl)
    (finding,) = found(wsl_can_reach_a_gpu, platform=wsl, intent=WANTS_GPU)
    assert (finding.cause, finding.severity) == ("wsl-version-too-old", Severity.ERROR)
    assert finding.remedies[0].shell == "powershell"


def test_wsl_2_without_dxg_needs_a_newer_kernel():
    wsl = Platform(system="Linux", wsl=2, container="")
    driver = NvidiaDriver(device_nodes=[])
    (finding,) = found(wsl_can_reach_a_gpu, platform=wsl, driver=driver, torch=CUDA_TORCH)
    assert commands(finding) == ["wsl --update", "wsl --shutdown"]


def test_a_linux_driver_inside_wsl_is_to_be_removed_not_the_windows_one():
    wsl = Platform(system="Linux", wsl=2, container="", distribution="ubuntu")
    driver = NvidiaDriver(
        device_nodes=[DeviceNode(path="/dev/dxg")],
        libraries=[Library(name="libcuda.so.1", path="/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.14")],
        packages_version="550.54.14",
    )
    (finding,) = found(wsl_uses_the_windows_driver, platform=wsl, driver=driver)
    assert (finding.cause, finding.severity) == ("wsl-driver-misinstalled", Severity.ERROR)
    assert "apt-get purge" in commands(finding)[0]
    good = NvidiaDriver(libraries=[Library(name="libcuda.so.1", path="/usr/lib/wsl/lib/libcuda.so.1")])
    assert not found(wsl_uses_the_windows_driver, platform=wsl, driver=good)
    assert not found(wsl_uses_the_windows_driver, platform=X86, driver=driver)


def test_a_kernel_whose_environment_is_gone_is_named_with_its_file():
    gone = Kernel(
        name="old",
        display_name="Old project",
        path="/home/u/.local/share/jupyter/kernels/old/kernel.json",
        interpreter="/home/u/old/bin/python",
        language="python",
        interpreter_found=False,
    )
    fine = Kernel(name="python3", interpreter="python", language="python")
    (finding,) = found(kernels_can_start, jupyter=Jupyter(kernels=[fine, gone]))
    assert finding.cause == "jupyter-kernel-mismatch"
    assert "/home/u/old/bin/python" in finding.title
    assert "jupyter kernelspec remove old" in commands(finding)


def test_a_damaged_kernel_is_not_called_gone():
    bad = Kernel(name="bad", path="/k/bad/kernel.json", problem="not valid JSON")
    (finding,) = found(kernels_can_start, jupyter=Jupyter(kernels=[bad]))
    assert "damaged" in finding.title


def test_an_environment_that_no_notebook_would_see_is_a_note():
    other = Kernel(name="base", interpreter="/opt/conda/bin/python", language="python", interpreter_found=True)
    python = Python(prefix="/home/u/project/.venv", path="/home/u/project/.venv/bin/python")
    packages = Packages(installed=[Package(name="torch", version="2.9.0")])
    (finding,) = found(environment_has_a_kernel, jupyter=Jupyter(kernels=[other]), python=python, packages=packages)
    assert finding.severity is Severity.NOTE
    assert commands(finding)[-1].endswith("--name project")
    here = Kernel(name="p", interpreter="/home/u/project/.venv/bin/python", language="python")
    assert not found(environment_has_a_kernel, jupyter=Jupyter(kernels=[other, here]), python=python, packages=packages)
    bare = Packages(installed=[Package(name="requests", version="2")])
    assert not found(environment_has_a_kernel, jupyter=Jupyter(kernels=[other]), python=python, packages=bare)


def test_a_name_from_a_kernel_file_cannot_become_a_command():
    evil = Kernel(name="x; rm -rf ~", path="/k/x/kernel.json", interpreter="/gone/python", interpreter_found=False)
    (finding,) = found(kernels_can_start, jupyter=Jupyter(kernels=[evil]))
    assert "jupyter kernelspec remove 'x; rm -rf ~'" in commands(finding)
