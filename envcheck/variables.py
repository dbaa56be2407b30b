"""Which environment variables matter to training."""

from __future__ import annotations

from collections.abc import Mapping

PREFIXES = (
    "CUDA_",
    "CUDNN_",
    "DYLD_",
    "GLOO_",
    "GPU_",
    "HIP_",
    "HSA_",
    "KERAS_",
    "KMP_",
    "LD_",
    "MIOPEN_",
    "MKL_",
    "NCCL_",
    "NVIDIA_",
    "OMP_",
    "OPENBLAS_",
    "PIP_",
    "PYTHON",
    "PYTORCH_",
    "ROCM_",
    "ROCR_",
    "SLURM_",
    "TF_",
    "TORCH_",
    "TORCHINDUCTOR_",
    "UV_",
    "XLA_",
    "ZE_",
)
"""Families of variables that drivers, frameworks, thread libraries, installers and schedulers read."""

NAMES = frozenset(
    {
        "AVAILABLE_LIB_DEVICES",
        "COMPUTE_PROFILE",
        "CONDA_DEFAULT_ENV",
        "CONDA_PREFIX",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "JUPYTER_PATH",
        "KUBERNETES_SERVICE_HOST",
        "LANG",
        "LC_ALL",
        "LOCAL_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
        "NO_PROXY",
        "NUMEXPR_NUM_THREADS",
        "OPENCL_PROFILE",
        "PATH",
        "RANK",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
        "TMPDIR",
        "VIRTUAL_ENV",
        "WORLD_SIZE",
        "WSL_DISTRO_NAME",
        "XDG_CACHE_HOME",
        "https_proxy",
        "http_proxy",
        "no_proxy",
    }
)


def that_matter(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that matter to training, sorted by name."""
    return {name: variables[name] for name in sorted(variables) if name in NAMES or name.startswith(PREFIXES)}
