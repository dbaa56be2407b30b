"""What envcheck knows: tables of versions, cards, error numbers, and plain functions that ask them.

Every function takes versions as text or as packaging Versions and answers from a row of tables/*.toml that names its
source. What no row says is unknown: the answer is None (or an empty list), never a guess. Nothing here looks at the
machine. Each module reads only the tables that it asks, at the first question, in about a millisecond.

Import the module that is needed, never this package alone: `from envcheck.compat import cuda, torch`.

| question | answer |
|---|---|
| **target** the machine that builds must fit | |
| what is known of it (None = not judged) | `Target(system=, machine=, python=, glibc=, driver=, compute_capabilities=...)` |
| **cuda** driver, toolkit, card | |
| least driver that runs a CUDA build | `minimum_driver("12.8", system="linux")` -> Version or None |
| driver released with a toolkit | `toolkit_driver("12.8", system)` |
| newest CUDA of a driver (what nvidia-smi prints) | `newest_cuda("570.86", system)` -> "12.8" |
| does CUDA x run on driver y | `driver_runs("12.8", "535.54.03", system)` -> True, False, None |
| card by capability: architecture, toolkits | `compute_capability("6.1")` -> ComputeCapability or None |
| last branch for a card; is it still driven | `last_driver_branch("6.1")`, `driver_supports("595.58", "6.1")` |
| does this code run on this card | `runs_on(["sm_80", "compute_90"], "12.0")`, `how_it_runs(...)` |
| cuda-compat package for an old driver | `forward_compatibility("12.8")` |
| **torch** | |
| a release; all; newest | `release("2.6.0+cu124")`, `releases()` |
| builds that fit a machine, newest first | `builds(target)` -> list[TorchBuild] |
| why one does not | `why_not(build, target)` -> list of sentences; empty = fits |
| all published builds of a release | `published("2.6.0")` |
| a build by its version with local part | `build("2.6.0+cu124", target)` |
| torchvision, torchaudio, torchtext, triton | `companions("2.6.0")` |
| NumPy API that it was built with | `numpy_major("2.2.2", system)` -> 1, 2, None |
| **tensorflow** | |
| a release, its pins, CUDA, cuDNN | `release("2.16.1")` |
| releases that fit a machine, newest first | `builds(target)`, `why_not(release, target)` |
| keras, text, tf-keras, protobuf, numpy ... | `companions("2.16.1")` |
| Windows with GPU, Apple's plug-in | `windows_gpu(...)`, `metal(...)` |
| **keras** release, backends, Keras 2 or 3 | `release`, `backend_minimum`, `major_of_tensorflow` |
| **cudnn** least capability, wheels | `minimum_compute_capability("9.11")`, `wheels(12)` |
| **host_compiler** newest gcc of a toolkit | `host_compiler("12.4")` |
| **python_wheels** libc of a tag, distributions | `libc_of_tag`, `distribution("ubuntu", "22.04")` |
| **abi** | |
| GLIBCXX_3.4.30 -> GCC 12.1 | `gcc_of_symbol`, `distributions_with_symbol` is in python_wheels |
| protobuf runtime and generated code | `protobuf_accepts(runtime, gencode)` |
| CPU instructions that a release needs | `cpu_needs("tensorflow", "2.4.0")` |
| known messages | `messages()`, `recognise(text)` |
| **packages** | |
| a name people type by mistake | `misleading("sklearn")` |
| cv2 -> opencv-python | `distribution_of_import("cv2")` |
| installed together by mistake | `exclusive_groups(names)` |
| **gpus** by PCI id, by NVML name | `by_pci_id("2684")`, `by_name("NVIDIA A100-SXM4-40GB")`, `open_module("12.0")` |
| **xid** Xid, SXid, recovery action, kernel lines | `xid(79)`, `sxid(12028)`, `recovery_action(2)`, `recognise(line)` |
| **nvml** return codes, throttle reasons | `nvml_return(18)`, `throttle_reasons(mask)` |
| **cuda_errors** by number, name, text | `by_code(802)`, `by_name("cudaErrorNoKernelImageForDevice")`, `in_text(line)` |
| **amd**, **intel**, **apple** | `amd.by_pci_id`, `amd.gfx_in_wheels`, `amd.gfx_of_sysfs`, `intel.by_pci_id`, `apple.mps(...)` |
"""
