"""What envcheck knows: tables of versions, cards and error numbers, and plain functions that ask them.

Every function takes versions as text or as packaging Versions and answers from a row of tables/*.toml that names its
source. What no row says is unknown: the answer is None (or an empty list), never a guess. Nothing here looks at the
machine. A module reads a table at the first question, in about a millisecond. Import the module that is needed:
`from envcheck.compat import cuda, torch`.

    target         Target(system=, machine=, python=, glibc=, driver=, compute_capabilities=, accelerator=...)
                   what is known of a machine; a field that is None is not judged
                   platform_of("Linux", "x86_64"), capability("sm_120") -> (12, 0)
    versions       parse, public (without "+cu124"), series ("12.4" of "12.4.1")

    cuda           minimum_driver("12.8", system) -> Version      least driver that runs builds of a CUDA version
                   driver_text(version) -> "570.124.06"           as NVIDIA writes it (str() drops the zero)
                   driver_runs("12.8", "535.54.03", system) -> True, False or None
                   toolkit_driver("12.8", system) -> Version      the driver released with a toolkit (PTX needs it)
                   newest_cuda("570.86", system) -> "12.8"        what nvidia-smi prints as CUDA Version
                   compute_capability("6.1") -> row               architecture, first and last toolkit, examples
                   last_driver_branch("6.1") -> 580; driver_supports("595.58", "6.1") -> False
                   runs_on(["sm_80", "compute_90"], "12.0"); how_it_runs(...) -> "machine code", "PTX", "not at all"
                   forward_compatibility("12.8") -> the cuda-compat package and where it is allowed
    build          Build: one build of a framework; why_not(build, target) -> sentences, empty = it runs
                   pythons(builds) -> the Pythons they have wheels for, newest first
    torch          release("2.6.0+cu124"), releases(), published("2.6.0") -> all builds
                   builds(target) -> builds that run there, newest first; newest_build(target); why_not(build, target)
                   build("2.6.0+cu124", target) -> the build of that name
                   companions("2.6.0") -> torchvision, torchaudio, torchtext, triton
                   release_with_companion("torchvision", "0.21.0"); numpy_major("2.2.2", system) -> 1 or 2
    tensorflow     release, releases, published, builds, build, why_not as for torch
                   companions("2.16.1") -> keras, tf-keras, text, protobuf, numpy, ...; companion_fits(...)
                   extra_pins(build, target) -> ["nvidia-cudnn-cu12<9.11"]; windows_gpu("2.10"); metal("3.11")
    keras          release, backend_minimum("3.13", "torch"), major_of_tensorflow("2.15") -> 2
    cudnn          minimum_compute_capability("9.11") -> "7.5", works_on, wheels(12), newest_wheel_for(12, "6.1")
    host_compiler  host_compiler("12.4") -> newest gcc and clang; toolkit_for_gcc(13); visual_studio("12.4")
    python_wheels  libc_of_tag("manylinux_2_28_x86_64"), minimum_pip, distribution("ubuntu", "22.04"),
                   distributions_with_symbol("GLIBCXX_3.4.30"), distributions_with_glibc("2.28")
    abi            gcc_of_symbol("GLIBCXX_3.4.30"), numpy_fits, protobuf_accepts(runtime, gencode),
                   cpu_needs("tensorflow", "2.4.0"), need("torch", "2.7"), recognise(text)
    packages       misleading("sklearn"), distribution_of_import("cv2"), exclusive_groups(names), normalised(name)

    gpus           by_pci_id("2684", "10de:167c"), by_name("Tesla T4"), compute_capability_of_name, open_module("12.0")
    xid            xid(79), sxid(12028), recovery_action("Drain and Reset"), recognise(line), recognise_all(text)
    nvml           nvml_return(18 or its name or text), throttle_reasons(mask), throttle_reason("SW Power Cap")
    cuda_errors    by_code(802), by_name("cudaErrorNoKernelImageForDevice"), in_text(text)
    amd            by_pci_id, gfx_target, gfx_of_sysfs(110000), gfx_in_wheels("6.4"), drivers, rules, vendor_rules
    intel, apple   by_pci_id; wheel("torch", "2.6.0"), mps("2.11", "14.5", "arm64"), minimum_macos_for_mps

system is "linux", "windows", "macos" or "wsl" (Linux on the driver of Windows), or what sys.platform says.
"""
