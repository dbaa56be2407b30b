"""Containers and schedulers: was the GPU asked for, and can it be handed over?"""

from __future__ import annotations

from collections.abc import Iterator

from envcheck.check import check
from envcheck.facts import ContainerRuntime, Facts, NvidiaDriver, Nvml, Pci, Platform, Variables, need
from envcheck.intent import GPU_NAMES, Intent, requires
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, seen

GPU_CONSEQUENCES = [
    "driver-*",
    "device-nodes-*",
    "nvml-*",
    "nvidia-smi-*",
    "gpus-on-bus-*",
    "required-gpu-*",
    "every-gpu-*",
    "framework-build-*",
    "*-sees-gpu",
    "cuda-visible-devices-*",
]
"""Checks that fail too where a GPU never reached the container or job."""

TOOLKIT_GUIDE = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"
NO_DEVICES = {"", "void", "none"}


@check(area="containers", causes=["container-gpu-not-requested", "kubernetes-device-plugin"])
def container_was_given_a_gpu(
    platform: Platform, containers: ContainerRuntime, facts: Facts, intent: Intent
) -> Iterator[Finding]:
    """A container that is meant to use the host's GPU was started with it.

    Why: a container sees a GPU only where it was asked for (docker run --gpus, a resource limit in Kubernetes); an
    image for CUDA starts without one too, and the framework then says that there is no driver.
    If not: start the container anew with a device request.
    Source: Docker's documentation, "GPU support"; NVIDIA's, "Container Toolkit"; Kubernetes', "Schedule GPUs".
    """
    if not need(platform.container, "platform.container") or platform.container == "apptainer":
        return
    driver, nvml = facts.driver, facts.nvml
    nodes = driver.device_nodes if driver else None
    if (nvml and nvml.state == "ok") or nodes:
        return
    on_host = _host_has_nvidia(driver, facts.pci)
    wanted = requires(intent, GPU_NAMES)
    for_gpu = bool(containers.image_cuda or containers.required_cuda or containers.visible_devices == "all")
    builds = [
        framework for framework in (facts.torch, facts.tensorflow) if framework and framework.accelerator == "cuda"
    ]
    # A CPU-only host runs images for CUDA well, as long as nobody asks for the GPU.
    if not wanted and not (on_host and (for_gpu or builds)):
        return
    kubernetes = platform.container == "kubernetes"
    yield Finding(
        cause="kubernetes-device-plugin" if kubernetes else "container-gpu-not-requested",
        severity=Severity.ERROR if wanted else Severity.WARNING,
        confidence=Confidence.LIKELY if on_host or for_gpu else Confidence.POSSIBLE,
        required=wanted,
        title="This pod was given no GPU" if kubernetes else "This container was started without the host's GPU",
        evidence=[
            Evidence("no NVIDIA device file in /dev", "/dev"),
            *seen(platform, "container"),
            *([Evidence("the host's kernel has the NVIDIA module", "/proc/modules")] if on_host else []),
            *[item for item in seen(containers, "visible_devices", "image_cuda") if not item.text.endswith(": none")],
        ],
        explains=GPU_CONSEQUENCES,
        remedies=_request_gpu(platform.container or ""),
        links=["https://kubernetes.io/docs/tasks/manage-gpus/scheduling-gpus/"] if kubernetes else [TOOLKIT_GUIDE],
    )


@check(area="containers", causes=["container-capabilities-missing"])
def container_capabilities_include_compute(
    platform: Platform, containers: ContainerRuntime, driver: NvidiaDriver | None = None
) -> Iterator[Finding]:
    """NVIDIA_DRIVER_CAPABILITIES lets CUDA and the management library into the container.

    Why: it chooses which driver libraries are mounted: `compute` brings libcuda, `utility` brings NVML and nvidia-smi;
    an image that sets it to `graphics` or `video` alone has a GPU on which nothing can compute.
    If not: set it to `compute,utility`, or `all`, when the container is started.
    Source: NVIDIA's documentation of the Container Toolkit, "Specialized configurations with Docker".
    """
    said = need(containers.driver_capabilities, "containers.driver_capabilities")
    given = {word.strip() for word in said.split(",") if word.strip()}
    nodes = driver.device_nodes if driver else None
    # Unset, the toolkit's default is compute and utility; without a GPU the variable says nothing.
    if not need(platform.container, "platform.container") or not given or "all" in given or not nodes:
        return
    missing = [name for name in ("compute", "utility") if name not in given]
    if not missing:
        return
    yield Finding(
        cause="container-capabilities-missing",
        severity=Severity.ERROR if "compute" in missing else Severity.WARNING,
        title=f"NVIDIA_DRIVER_CAPABILITIES lacks {' and '.join(missing)}: "
        + ("CUDA's driver library is not in this container" if "compute" in missing else "NVML and nvidia-smi are not"),
        evidence=seen(containers, "driver_capabilities"),
        explains=GPU_CONSEQUENCES,
        remedies=[
            Remedy(
                action="Start the container with both, on the host",
                commands=["docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility …"],
                changes="the container, which is started anew",
            ),
            Remedy(
                action="Or set it in the image",
                commands=["ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility"],
                shell="dockerfile",
                changes="the image",
            ),
        ],
    )


@check(area="containers", causes=["container-lost-gpu"])
def container_kept_its_gpu(platform: Platform, nvml: Nvml, driver: NvidiaDriver | None = None) -> Iterator[Finding]:
    """A running container still has the GPU that it was started with.

    Why: where systemd manages control groups, a daemon-reload on the host (by an update, say) sets the container's
    device rules anew, without the GPU that NVIDIA's hook added; NVML then says "Unknown Error".
    If not: start the container again; on the host, let the devices be known to the runtime (CDI, or --device), or
    let Docker manage control groups itself.
    Source: NVIDIA's notice "Containers losing access to GPUs with error: Failed to initialize NVML: Unknown Error"
    (nvidia-docker issue 1730, nvidia-container-toolkit issue 48).
    """
    nodes = driver.device_nodes if driver else None
    if not need(platform.container, "platform.container") or nvml.state != "NVML_ERROR_UNKNOWN" or nodes == []:
        return
    refused = [node for node in nodes or [] if node.accessible is False]
    kubernetes = platform.container == "kubernetes"
    yield Finding(
        cause="container-lost-gpu",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title="This container has lost its GPU: NVML answers “Unknown Error” although the device files are there",
        evidence=[
            *seen(nvml, "state", "message"),
            *[Evidence(f"{node.path}: mode {node.mode}, access refused", node.path) for node in refused[:4]],
        ],
        explains=GPU_CONSEQUENCES,
        remedies=[
            Remedy(action="Delete the pod; its controller makes a new one", commands=["kubectl delete pod POD"])
            if kubernetes
            else Remedy(
                action="Restart the container, on the host",
                commands=["docker restart CONTAINER"],
                changes="the container; what runs in it ends",
            ),
            Remedy(
                action="So that it does not come back: let Docker manage control groups itself, on the host, in "
                "/etc/docker/daemon.json, then restart Docker",
                commands=['"exec-opts": ["native.cgroupdriver=cgroupfs"]'],
                shell="json",
                changes="Docker on the host; running containers end",
            ),
        ],
        links=["https://github.com/NVIDIA/nvidia-container-toolkit/issues/48"],
    )


@check(area="containers", causes=["container-image-cuda-too-new"])
def image_cuda_runs_on_the_driver(
    platform: Platform, containers: ContainerRuntime, nvml: Nvml, driver: NvidiaDriver | None = None
) -> Iterator[Finding]:
    """The host's driver can run the CUDA version of the container's image.

    Why: the image brings the CUDA libraries, the host its driver; a driver that is older than the image needs makes
    CUDA fail with "driver version is insufficient", or the container's start with "unsatisfied condition: cuda>=".
    If not: take an image with an older CUDA, or update the driver of the host.
    Source: NVIDIA's table of CUDA toolkits and drivers; minor version compatibility is taken into account.
    """
    if not need(platform.container, "platform.container") or not containers.image_cuda or not nvml.driver_version:
        return
    image = ".".join(containers.image_cuda.split(".")[:2])
    if driver and driver.library_version and driver.library_version != nvml.driver_version:
        # A cuda-compat package in the image brings a libcuda of its own.
        return
    from envcheck.compat import cuda

    if cuda.driver_runs(image, nvml.driver_version) is not False:
        return
    newest = cuda.newest_cuda(nvml.driver_version)
    least = cuda.minimum_driver(image)
    yield Finding(
        cause="container-image-cuda-too-new",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"The image's CUDA {image} needs a newer driver than the host's {nvml.driver_version}",
        evidence=[
            *seen(containers, "image_cuda", "required_cuda"),
            *seen(nvml, "driver_version", "cuda_version"),
            *([Evidence(f"CUDA {image} needs driver {least} or later", "table of CUDA drivers")] if least else []),
        ],
        explains=["driver-supports-*", "*-sees-gpu"],
        remedies=[
            Remedy(
                action=f"Use an image for CUDA {newest} or older" if newest else "Use an image for an older CUDA",
                changes="the image",
            ),
            Remedy(
                action=f"Or update the host's driver to {least} or later" if least else "Or update the host's driver",
                changes="the host's driver; it needs a restart",
            ),
        ],
    )


@check(area="containers", causes=["container-toolkit-missing"])
def container_toolkit_is_installed(
    platform: Platform, containers: ContainerRuntime, nvml: Nvml, intent: Intent
) -> Iterator[Finding]:
    """On a host with Docker and an NVIDIA GPU, the NVIDIA Container Toolkit is installed.

    Why: Docker hands a GPU to a container through it; without it `docker run --gpus` fails with "could not select
    device driver".
    If not: install the toolkit, let it configure Docker, and restart Docker.
    Source: NVIDIA's documentation, "Installing the NVIDIA Container Toolkit".
    """
    has_gpu = nvml.state == "ok" and bool(nvml.gpus)
    engine = need(containers.docker_path, "containers.docker_path")
    here = platform.system == "Linux" and not platform.container and not platform.wsl
    if not (engine and has_gpu and here) or need(containers.toolkit_path, "containers.toolkit_path"):
        return
    wanted = requires(intent, {"docker"})
    yield Finding(
        cause="container-toolkit-missing",
        severity=Severity.WARNING if wanted else Severity.NOTE,
        title="Docker is here, but not the NVIDIA Container Toolkit: containers cannot use the GPU",
        evidence=[*seen(containers, "docker_path"), Evidence("no nvidia-ctk and no nvidia-container-runtime", "PATH")],
        remedies=[
            Remedy(
                action="Install it from NVIDIA's repository (see the link for adding it), then configure Docker",
                commands=[
                    *_install("nvidia-container-toolkit", platform),
                    "sudo nvidia-ctk runtime configure --runtime=docker",
                    _restart_docker(platform),
                ],
                changes="the system's packages and /etc/docker/daemon.json; running containers end",
            )
        ],
        links=[TOOLKIT_GUIDE],
    )


@check(area="containers", causes=["docker-daemon-unavailable"])
def docker_daemon_is_reachable(platform: Platform, containers: ContainerRuntime, intent: Intent) -> Iterator[Finding]:
    """Where the Docker client is installed, this user may talk to its daemon.

    Why: without the daemon, or without the right to open its socket, every docker command fails.
    If not: start the daemon, or join the group docker (whose members can become root).
    Source: Docker's documentation, "Post-installation steps" and "Daemon configuration".
    """
    wanted = requires(intent, {"docker"})
    severity = Severity.ERROR if wanted else Severity.NOTE
    if containers.daemon_configuration_problem:
        source = containers.sources.get("daemon_configuration_problem", "")
        yield Finding(
            cause="docker-daemon-unavailable",
            severity=Severity.ERROR if wanted else Severity.WARNING,
            required=wanted,
            title="Docker's daemon.json is damaged; the daemon will not start with it",
            evidence=seen(containers, "daemon_configuration_problem"),
            remedies=[
                Remedy(
                    action="Mend the file, then restart Docker",
                    commands=[f"python3 -m json.tool {source}", _restart_docker(platform)],
                    changes="Docker's configuration",
                )
            ],
        )
        return
    if not containers.docker_path or need(containers.docker_socket_accessible, "containers.docker_socket_accessible"):
        return
    # Inside a container there is mostly a client alone, and nothing is amiss.
    if platform.container and not wanted:
        return
    socket = containers.docker_socket
    if socket:
        title = f"Docker's daemon is there, but this user may not open {socket}"
        remedy = Remedy(
            action="Join the group docker (its members can become root), then log in again",
            commands=["sudo usermod -aG docker $USER"],
            changes="this user's groups",
        )
    else:
        title = "The Docker client is installed, but no daemon runs here"
        remedy = Remedy(
            action="Start the daemon", commands=[_start_docker(platform)], changes="a service of this machine"
        )
        if platform.system != "Linux":
            remedy = Remedy(action="Start Docker Desktop")
    yield Finding(
        cause="docker-daemon-unavailable",
        severity=severity,
        required=wanted,
        title=title,
        evidence=[
            *seen(containers, "docker_path", "docker_socket"),
            *(seen(platform, "user_groups") if socket else []),
        ],
        remedies=[remedy],
    )


@check(area="containers", causes=["scheduler-allocation"])
def scheduler_gave_a_gpu(
    variables: Variables, facts: Facts, intent: Intent, driver: NvidiaDriver | None = None
) -> Iterator[Finding]:
    """Inside a Slurm job that is meant to use a GPU, Slurm has given it one.

    Why: on a node with GPUs a job sees only those that it asked for (--gpus, --gres=gpu:N); one that asked for none
    runs, and the framework says that there is no GPU.
    If not: ask for GPUs in the job's script.
    Source: Slurm's documentation, "Generic Resource (GRES) Scheduling": it sets CUDA_VISIBLE_DEVICES to the GPUs that
    the job was given (older releases: to `NoDevFiles` where it was given none).
    """
    values = need(variables.values, "variables.values")
    if "SLURM_JOB_ID" not in values:
        return
    visible = values.get("CUDA_VISIBLE_DEVICES")
    asked = [
        name for name in ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS", "SLURM_GPUS_ON_NODE") if values.get(name)
    ]
    given = bool(asked) or visible not in {None, "", "NoDevFiles"}
    wanted = requires(intent, GPU_NAMES)
    builds = [
        framework for framework in (facts.torch, facts.tensorflow) if framework and framework.accelerator == "cuda"
    ]
    on_node = _host_has_nvidia(driver, facts.pci)
    sees = any(framework.sees_gpu for framework in builds) or bool(facts.nvml and facts.nvml.gpus)
    if given or (sees and visible != "NoDevFiles") or not (wanted or visible == "NoDevFiles" or (builds and on_node)):
        return
    yield Finding(
        cause="scheduler-allocation",
        severity=Severity.ERROR if wanted else Severity.WARNING,
        confidence=Confidence.CERTAIN if visible == "NoDevFiles" else Confidence.LIKELY,
        required=wanted,
        title="Slurm gave this job no GPU",
        evidence=[
            *[
                Evidence(f"{name}={values[name]}", variables.sources.get("values", ""))
                for name in ("SLURM_JOB_ID", "SLURM_JOB_PARTITION", "CUDA_VISIBLE_DEVICES")
                if name in values
            ],
            *([Evidence("this node has NVIDIA GPUs", "/proc/modules or the PCI bus")] if on_node else []),
        ],
        explains=GPU_CONSEQUENCES,
        remedies=[
            Remedy(
                action="Ask for one in the job's script", commands=["#SBATCH --gres=gpu:1"], changes="the next job only"
            ),
            Remedy(
                action="Or interactively", commands=["srun --gres=gpu:1 --pty bash"], changes="nothing; it is a new job"
            ),
        ],
        links=["https://slurm.schedmd.com/gres.html"],
    )


def _host_has_nvidia(driver: NvidiaDriver | None, pci: Pci | None) -> bool:
    """Tell whether the host has a GPU of NVIDIA: containers share its kernel, and see its bus."""
    if driver and (driver.module_loaded or driver.module_version):
        return True
    return any(device.vendor_id == "10de" for device in (pci.devices or [] if pci else []))


def _request_gpu(container: str) -> list[Remedy]:
    if container == "kubernetes":
        return [
            Remedy(
                action="Ask for a GPU in the container's limits (the cluster needs NVIDIA's device plug-in)",
                commands=["resources:", "  limits:", "    nvidia.com/gpu: 1"],
                shell="yaml",
                changes="the pod, which is made anew on a node with a GPU",
            ),
            Remedy(
                action="See whether the cluster offers GPUs at all",
                commands=["kubectl describe nodes | grep nvidia.com/gpu"],
            ),
        ]
    if container == "podman":
        return [
            Remedy(
                action="Start the container with the GPU, on the host",
                commands=["podman run --device nvidia.com/gpu=all …"],
                changes="the container, which is started anew",
            )
        ]
    return [
        Remedy(
            action="Start the container with the GPU, on the host",
            commands=["docker run --gpus all …"],
            changes="the container, which is started anew",
        ),
        Remedy(
            action="With compose, reserve it for the service",
            commands=[
                "deploy:",
                "  resources:",
                "    reservations:",
                "      devices:",
                "      - {driver: nvidia, count: all, capabilities: [gpu]}",
            ],
            shell="yaml",
            changes="the container, which is made anew",
        ),
    ]


def _install(package: str, platform: Platform) -> list[str]:
    families = {
        "sudo apt-get install -y": {"ubuntu", "debian", "linuxmint", "pop"},
        "sudo dnf install -y": {"fedora", "rhel", "centos", "rocky", "almalinux", "amzn"},
        "sudo zypper install -y": {"opensuse-leap", "opensuse-tumbleweed", "sles"},
        "sudo pacman -S": {"arch", "manjaro", "endeavouros"},
    }
    return [f"{command} {package}" for command, names in families.items() if platform.distribution in names]


def _start_docker(platform: Platform) -> str:
    return "sudo systemctl start docker" if platform.init == "systemd" else "sudo service docker start"


def _restart_docker(platform: Platform) -> str:
    return "sudo systemctl restart docker" if platform.init == "systemd" else "sudo service docker restart"
