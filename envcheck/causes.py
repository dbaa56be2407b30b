"""The vocabulary of a diagnosis: one slug for each root cause.

A cause is the thing that a person changes to make the fault go away: the deepest one that the evidence supports,
never the symptom.  A slug is a stable public name; once released it keeps its meaning.  Families stand in the order in
which the layers of a machine rest on each other, so that where two findings are equally grave and equally sure, the
deeper layer comes first.
"""

from __future__ import annotations

CAUSES: dict[str, dict[str, str]] = {
    "Driver and kernel": {
        "driver-missing": "a GPU is present, no NVIDIA driver is installed",
        "driver-not-loaded": "the driver is installed, its kernel module is not loaded (not built for this kernel, DKMS failed, headers missing)",
        "driver-library-mismatch": "the loaded kernel module and the user-space driver libraries differ in version (updated without a reboot)",
        "driver-too-old": "the driver is older than the framework's CUDA build needs",
        "secure-boot-blocks-driver": "Secure Boot rejects the unsigned kernel module",
        "nouveau-loaded": "the nouveau module holds the GPU",
        "driver-dropped-gpu": "the installed driver branch (or open module) no longer supports this GPU",
        "device-nodes-missing": "/dev/nvidia* missing, or nvidia-uvm not loaded",
        "device-permission": "the user may not open the GPU's device nodes",
        "driver-hung": "driver calls never return",
        "libcuda-stub-or-duplicate": "a stub or a stale libcuda/libnvidia-ml shadows the driver's own",
        "nvidia-smi-missing": "the driver works, its tools are not on PATH",
    },
    "Hardware": {
        "gpu-fell-off-bus": "GPU lost from the PCIe bus (Xid 79)",
        "gpu-memory-fault": "uncorrectable ECC, row remap failure or pending, retired pages",
        "gpu-hardware-fault": "another fatal Xid: GSP timeout, NVLink fatal, DBE, must reset or replace",
        "hardware-computes-wrongly": "processor, memory or GPU gives another result now and then (overclocked, overheated, defective)",
        "gpu-throttled": "thermal, power or hardware slow-down holds the clocks down",
        "processor-throttled": "heat or a power limit holds the processor's clocks down",
        "pcie-degraded": "the link trains below what card and slot can do under load, or AER errors",
        "nvlink-degraded": "NVLink lanes inactive or erroring",
        "fabric-manager-down": "NVSwitch machine without a running, matching fabric manager",
        "gpu-not-in-compute-mode": "MIG, exclusive or prohibited compute mode keeps the process out",
        "gpu-in-use": "the memory or the GPU is taken by another process",
        "bar-or-iommu-setting": "BIOS, BAR space, IOMMU/ACS or above-4G setting stops the GPU or peer-to-peer from working",
        "no-gpu-present": "the machine has no supported GPU (intended or not)",
    },
    "CUDA user space": {
        "cpu-only-build": "the framework installed is a CPU-only build",
        "wrong-accelerator-build": "built for another accelerator (ROCm, XPU, Metal) than this machine's",
        "gpu-arch-not-in-build": "the build has no code for this GPU's compute capability",
        "cuda-libraries-missing": "CUDA/cuDNN/NCCL libraries that the framework loads are not found",
        "cuda-library-conflict": "another version of a CUDA/cuDNN/cuBLAS/NCCL library is found first (LD_LIBRARY_PATH, a second wheel, a system copy)",
        "cudnn-version-mismatch": "cuDNN found, but older or newer than the build was compiled for",
        "toolkit-version-mismatch": "nvcc/CUDA_HOME differs from the framework's CUDA when extensions are compiled",
        "cuda-toolkit-missing": "something must be compiled or assembled (nvcc, ptxas, headers, libdevice) and the toolkit is absent",
        "host-compiler-unsupported": "gcc/g++/MSVC too new, too old or absent for the build",
        "kernel-computes-wrongly": "a numerical kernel of the framework or of a library (oneDNN, a BLAS, cuDNN) gives a wrong result on this machine, each time",
        "precision-lowered": "a switch lets products be computed in less precision than was asked for (TF32, oneDNN's fpmath mode)",
        "visible-devices-masked": "CUDA_VISIBLE_DEVICES / NVIDIA_VISIBLE_DEVICES / HIP_VISIBLE_DEVICES hides or misnames devices",
    },
    "Python environment": {
        "wrong-interpreter": "the package is installed in another interpreter or environment than the one that runs",
        "package-not-installed": "the package (or an import-name twin, like `sklearn`/`cv2`) is simply not there",
        "python-version-unsupported": "no release supports this Python (too new or too old)",
        "platform-unsupported": "no release for this OS, architecture (32-bit, aarch64, musl) or GPU on this OS",
        "glibc-too-old": "the system C library is older than the wheel needs",
        "libstdcxx-too-old": "GLIBCXX/CXXABI symbol missing: an old libstdc++ is found first",
        "cpu-instructions-missing": "the CPU lacks AVX/AVX2/FMA that the build uses (Illegal instruction)",
        "cpu-arch-emulated": "an x86 build under emulation (Rosetta, qemu) or an interpreter of the wrong architecture",
        "numpy-abi-mismatch": "compiled against NumPy 1.x, running 2.x, or the reverse",
        "protobuf-mismatch": "generated code and protobuf runtime disagree",
        "framework-companion-mismatch": "torchvision, torchaudio, tensorflow-text, tf-keras, xformers, flash-attn… does not match the framework",
        "framework-too-new-for-code": "the code uses an API that this framework version removed",
        "framework-too-old-for-code": "the code needs an API that this version lacks",
        "keras-2-3-mismatch": "Keras 2 code or model under Keras 3, or the reverse, or two Kerases",
        "dependency-conflict": "the resolver or `pip check` shows requirements that cannot hold together",
        "mixed-conda-pip": "the same package (or OpenMP/MKL runtime) from conda and from pip in one environment",
        "broken-install": "half-removed, truncated or corrupted files; missing metadata; interrupted upgrade",
        "shadowed-module": "a local file or folder has the name of an installed module",
        "user-site-leak": "~/.local or PYTHONPATH packages come before the environment's",
        "openmp-duplicate": "two OpenMP runtimes in one process (libiomp5 initialised twice)",
        "frameworks-clash": "two frameworks in one process fight over memory or libraries",
        "framework-version-bug": "a known defect of exactly this version, cured by another version",
        "missing-system-library": "a system library (libGL, libsndfile, libgomp, libcupti…) is absent",
        "vc-redist-missing": "the Visual C++ runtime on Windows is absent or old",
        "windows-long-path": "the path-length limit broke the install",
        "tls-or-proxy": "a certificate, proxy or firewall stops the download",
        "package-index-wrong": "wrong or unreachable index, wrong extra index, hash or wheel not found there",
        "wrong-package-name": "a typo, a deprecated name (`tensorflow-gpu`, `sklearn`, `pytorch`) or the language itself installed as a package",
        "install-permission": "no write permission, or an externally managed interpreter",
        "virtualenv-broken": "the environment points at an interpreter that has gone",
        "jupyter-kernel-mismatch": "the notebook's kernel is another environment than the one installed into, or ipykernel is missing",
        "conda-solver-stuck": "channels or pins that conda cannot solve",
        "license-or-channel-blocked": "a channel or model hub needs a licence, a login or a token",
    },
    "Memory, disk, limits": {
        "gpu-out-of-memory": "the work does not fit in the GPU's memory",
        "gpu-memory-fragmented": "enough memory is reserved but not contiguous",
        "host-out-of-memory": "RAM ran out; the OOM killer ended the process",
        "cgroup-limit": "the container's or job's memory/CPU limit, not the machine's, was hit",
        "memory-leak": "a library or program keeps memory that it no longer needs, more and more of it",
        "shm-too-small": "/dev/shm is too small for data-loader workers",
        "disk-full": "a disk, quota, /tmp or inode limit is full",
        "open-files-limit": "ulimit -n too low",
        "locked-memory-limit": "ulimit -l too low for RDMA/pinned memory",
        "thread-oversubscription": "more threads than cores that the process may use",
        "slow-data-path": "storage or loader starves the device",
    },
    "Containers, WSL, schedulers": {
        "container-toolkit-missing": "the NVIDIA container toolkit or its runtime is not installed or configured",
        "container-gpu-not-requested": "the container was started without `--gpus` / a device request",
        "container-lost-gpu": "a running container lost its GPU (cgroup reload by systemd)",
        "container-capabilities-missing": "NVIDIA_DRIVER_CAPABILITIES lacks compute/utility",
        "container-image-cuda-too-new": "the image's CUDA needs a newer host driver",
        "rootless-or-cgroup-config": "rootless, cgroup v2 or SELinux settings stop the device injection",
        "container-wrong-platform": "the image is for another architecture",
        "docker-daemon-unavailable": "the daemon is not running, or the user may not talk to it",
        "entrypoint-failed": "the container's command is missing, not executable, or has CRLF line endings",
        "wsl-driver-misinstalled": "a Linux driver inside WSL, or no Windows driver under it",
        "wsl-version-too-old": "WSL 1, or a kernel without GPU support",
        "kubernetes-device-plugin": "the cluster does not offer the GPU to the pod",
        "scheduler-allocation": "Slurm or another scheduler gave no GPU, or other ones, to the job",
    },
    "Distributed": {
        "rendezvous-unreachable": "ranks cannot reach the master address or port",
        "network-interface-wrong": "NCCL/Gloo picked a wrong or unroutable interface",
        "nccl-transport-failed": "InfiniBand, P2P or shared memory transport broken",
        "rank-died": "another rank crashed; the visible time-out is its consequence",
        "version-skew-across-nodes": "nodes run different driver, framework or NCCL versions",
    },
    "Other accelerators": {
        "rocm-mismatch": "ROCm version, kernel driver or gfx target does not fit",
        "rocm-permission": "the user is not in render/video",
        "mps-unsupported": "macOS, or the operation, does not support Metal",
        "xpu-runtime-missing": "Intel GPU runtime or driver is absent or old",
    },
    "Not the environment": {
        "user-code": "the program is wrong (shapes, dtype, index out of range, wrong device), not the environment",
        "healthy": "nothing is wrong",
    },
}


def meaning(cause: str) -> str | None:
    """Return what a cause says is wrong, or None where the vocabulary has no such slug."""
    return next((causes[cause] for causes in CAUSES.values() if cause in causes), None)


def depth(cause: str) -> int:
    """Return the place of a cause in the vocabulary, deeper layers first; unknown slugs come last."""
    slugs = [slug for causes in CAUSES.values() for slug in causes]
    return slugs.index(cause) if cause in slugs else len(slugs)
