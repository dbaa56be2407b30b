"""Ask NVIDIA's management library everything that envcheck wants to know, each call on its own.

Run by envcheck's own interpreter, which has nvidia-ml-py.  Says `stage` before every call, so that a call which never
comes back, or ends the process, is named; `gpu` once for each GPU; `nvml` at the end.  A call that fails leaves its
own fields unknown and says with which return code.
"""

import os
import sys
from ctypes import byref

import envcheck_channel as channel

GPU_LOST = ("NVML_ERROR_GPU_IS_LOST", "NVML_ERROR_RESET_REQUIRED")

try:
    import pynvml
except Exception as error:
    channel.say("binding-missing", reason="%s: %s" % (type(error).__name__, error))
    channel.end()

CODES = {
    value: name for name, value in vars(pynvml).items() if name.startswith("NVML_ERROR_") and isinstance(value, int)
}


def code_name(error):
    """Return the name of a failed call's return code; the exception's own where it came from elsewhere."""
    value = getattr(error, "value", None)
    if value is None:
        return type(error).__name__
    return CODES.get(value, "NVML_ERROR_%s" % value)


def text(value):
    """Return a string, whatever the binding made of the library's bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def library_path():
    """Return the file that was opened as libnvidia-ml, from the process's own map; empty where it cannot be told."""
    try:
        with open("/proc/self/maps", "rb") as maps:
            for line in maps:
                path = line.decode("utf-8", "replace").rstrip("\n").partition("/")[2]
                if "libnvidia-ml.so" in path:
                    return "/" + path
    except Exception:
        pass
    return ""


def start():
    """Initialise the library as nvidia-smi does; drivers before 384 have only the older function."""
    channel.say("stage", call="nvmlInit")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if code_name(error) != "NVML_ERROR_FUNCTION_NOT_FOUND":
            raise
        result = pynvml._nvmlGetFunctionPointer("nvmlInit_v2")()  # noqa: SLF001 - the binding has no name for it
        if result:
            raise pynvml.NVMLError(result)


def ask_driver(call):
    """Return the answer of a call about the whole driver; None where it fails."""
    channel.say("stage", call=call)
    try:
        return getattr(pynvml, call)()
    except Exception:
        return None


class Device:
    """One GPU: its answers and the calls that gave none."""

    def __init__(self, index):
        """Begin with nothing known of the GPU with that number."""
        self.index = index
        self.facts = {"index": index}
        self.unreadable = {}
        self.state = "ok"
        self.handle = None

    def ask(self, field, call, *arguments):
        """Return the answer of a call, and note the return code under the field's name where it fails."""
        channel.say("stage", call=call, gpu=self.index)
        try:
            return getattr(pynvml, call)(self.handle, *arguments)
        except Exception as error:
            self.unreadable[field] = code_name(error)
            if self.unreadable[field] in GPU_LOST:
                self.state = self.unreadable[field]
            return None

    def put(self, field, call, *arguments, **options):
        """Ask for a field and keep the answer, converted by `convert`."""
        answer = self.ask(field, call, *arguments)
        if answer is not None:
            convert = options.get("convert")
            self.facts[field] = convert(answer) if convert else answer


def identity(device):
    """Name, identity, place on the bus, compute capability."""
    device.put("name", "nvmlDeviceGetName", convert=text)
    device.put("uuid", "nvmlDeviceGetUUID", convert=text)
    place = device.ask("pci_address", "nvmlDeviceGetPciInfo")
    if place is not None:
        device.facts["pci_address"] = "%04x:%02x:%02x.0" % (place.domain, place.bus, place.device)
    device.put("minor_number", "nvmlDeviceGetMinorNumber")
    device.put(
        "compute_capability", "nvmlDeviceGetCudaComputeCapability", convert=lambda answer: "%d.%d" % tuple(answer)
    )
    device.put("vbios", "nvmlDeviceGetVbiosVersion", convert=text)


def use(device):
    """Memory, use, temperature, power, clocks."""
    memory = device.ask("memory_total_bytes", "nvmlDeviceGetMemoryInfo")
    if memory is not None:
        device.facts.update(
            memory_total_bytes=memory.total, memory_used_bytes=memory.used, memory_free_bytes=memory.free
        )
    device.put("utilization_percent", "nvmlDeviceGetUtilizationRates", convert=lambda answer: answer.gpu)
    device.put("temperature_celsius", "nvmlDeviceGetTemperature", pynvml.NVML_TEMPERATURE_GPU)
    device.put(
        "temperature_slowdown_celsius",
        "nvmlDeviceGetTemperatureThreshold",
        pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,
    )
    device.put(
        "memory_temperature_max_celsius",
        "nvmlDeviceGetTemperatureThreshold",
        pynvml.NVML_TEMPERATURE_THRESHOLD_MEM_MAX,
    )
    device.put("power_watts", "nvmlDeviceGetPowerUsage", convert=watts)
    device.put("power_limit_watts", "nvmlDeviceGetEnforcedPowerLimit", convert=watts)
    device.put("power_limit_default_watts", "nvmlDeviceGetPowerManagementDefaultLimit", convert=watts)
    for field, call in (("", "nvmlDeviceGetClockInfo"), ("_max", "nvmlDeviceGetMaxClockInfo")):
        device.put("clock%s_megahertz" % field, call, pynvml.NVML_CLOCK_SM)
        device.put("memory_clock%s_megahertz" % field, call, pynvml.NVML_CLOCK_MEM)
    device.put("performance_state", "nvmlDeviceGetPerformanceState", convert=lambda answer: "P%d" % answer)
    # Drivers before 535 know the reasons under the older name alone.
    call = "nvmlDeviceGetCurrentClocksEventReasons"
    device.put("throttle_mask", call)
    if device.unreadable.get("throttle_mask") == "NVML_ERROR_FUNCTION_NOT_FOUND":
        del device.unreadable["throttle_mask"]
        device.put("throttle_mask", "nvmlDeviceGetCurrentClocksThrottleReasons")


def watts(milliwatts):
    """Return watts."""
    return milliwatts / 1000.0


def memory_health(device):
    """ECC, remapped rows, retired pages, repairs, the board's own record."""
    mode = device.ask("ecc_enabled", "nvmlDeviceGetEccMode")
    if mode is not None:
        device.facts.update(ecc_enabled=bool(mode[0]), ecc_enabled_pending=bool(mode[1]))
    for field, kind, counter in (
        ("ecc_corrected", pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, pynvml.NVML_VOLATILE_ECC),
        ("ecc_uncorrected", pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC),
        ("ecc_uncorrected_lifetime", pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_AGGREGATE_ECC),
    ):
        device.put(field, "nvmlDeviceGetTotalEccErrors", kind, counter)
    if hasattr(pynvml, "c_nvmlEccSramErrorStatus_v1_t"):
        status = pynvml.c_nvmlEccSramErrorStatus_v1_t()
        if device.ask("sram_threshold_exceeded", "nvmlDeviceGetSramEccErrorStatus", byref(status)) is not None:
            device.facts["sram_threshold_exceeded"] = bool(status.bThresholdExceeded)
    rows = device.ask("remapped_rows_uncorrected", "nvmlDeviceGetRemappedRows")
    if rows is not None:
        device.facts.update(
            remapped_rows_corrected=rows[0],
            remapped_rows_uncorrected=rows[1],
            remap_pending=bool(rows[2]),
            remap_failed=bool(rows[3]),
        )
    pages = 0
    for cause in (
        pynvml.NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS,
        pynvml.NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR,
    ):
        retired = device.ask("retired_pages", "nvmlDeviceGetRetiredPages", cause)
        pages = None if retired is None or pages is None else pages + len(retired)
    if pages is not None:
        device.facts["retired_pages"] = pages
        device.put("retired_pages_pending", "nvmlDeviceGetRetiredPagesPendingStatus", convert=bool)
    if hasattr(pynvml, "nvmlDeviceGetRepairStatus"):
        device.put("repair_pending", "nvmlDeviceGetRepairStatus", convert=any)
    device.ask("inforom_valid", "nvmlDeviceValidateInforom")
    code = device.unreadable.pop("inforom_valid", "")
    if code in ("", "NVML_ERROR_CORRUPTED_INFOROM"):
        device.facts["inforom_valid"] = not code
    else:
        device.unreadable["inforom_valid"] = code


def modes(device):
    """Persistence, compute mode, MIG and its instances."""
    device.put("persistence_mode", "nvmlDeviceGetPersistenceMode", convert=bool)
    names = {0: "Default", 1: "Exclusive_Thread", 2: "Prohibited", 3: "Exclusive_Process"}
    device.put("compute_mode", "nvmlDeviceGetComputeMode", convert=lambda answer: names.get(answer, str(answer)))
    mig = device.ask("mig_enabled", "nvmlDeviceGetMigMode")
    if mig is None:
        return
    device.facts["mig_enabled"] = bool(mig[0])
    if not mig[0]:
        return
    instances = []
    parent = device.handle
    for number in range(device.ask("mig_instances", "nvmlDeviceGetMaxMigDeviceCount") or 0):
        device.handle = parent
        instance = device.ask("mig_instance", "nvmlDeviceGetMigDeviceHandleByIndex", number)
        # The numbers of instances have gaps; a number without one is no failure.
        device.unreadable.pop("mig_instance", None)
        if instance is None:
            continue
        device.handle = instance
        memory = device.ask("mig_memory", "nvmlDeviceGetMemoryInfo")
        name = device.ask("mig_name", "nvmlDeviceGetName")
        instances.append(
            {
                "uuid": text(device.ask("mig_uuid", "nvmlDeviceGetUUID") or ""),
                "name": text(name or "").partition(" MIG ")[2],
                "memory_total_bytes": None if memory is None else memory.total,
            }
        )
    device.handle = parent
    device.facts["mig_instances"] = instances


def links(device):
    """PCIe, NVLink, fabric, the window into the card's memory."""
    device.put("pcie_generation", "nvmlDeviceGetCurrPcieLinkGeneration")
    device.put("pcie_generation_max", "nvmlDeviceGetMaxPcieLinkGeneration")
    device.put("pcie_width", "nvmlDeviceGetCurrPcieLinkWidth")
    device.put("pcie_width_max", "nvmlDeviceGetMaxPcieLinkWidth")
    device.put("pcie_replays", "nvmlDeviceGetPcieReplayCounter")
    device.put("bar1_total_bytes", "nvmlDeviceGetBAR1MemoryInfo", convert=lambda answer: answer.bar1Total)
    active = inactive = errors = 0
    counted = False
    for link in range(getattr(pynvml, "NVML_NVLINK_MAX_LINKS", 18)):
        up = device.ask("nvlinks_active", "nvmlDeviceGetNvLinkState", link)
        if up is None:
            break
        active, inactive = active + bool(up), inactive + (not up)
        if up:
            for counter in (
                pynvml.NVML_NVLINK_ERROR_DL_REPLAY,
                pynvml.NVML_NVLINK_ERROR_DL_RECOVERY,
                pynvml.NVML_NVLINK_ERROR_DL_CRC_FLIT,
            ):
                count = device.ask("nvlink_errors", "nvmlDeviceGetNvLinkErrorCounter", link, counter)
                if count is None:
                    break
                errors, counted = errors + count, True
    if active or inactive:
        # The call fails for numbers beyond the last link: no fault where links were seen.
        device.unreadable.pop("nvlinks_active", None)
        device.facts.update(nvlinks_active=active, nvlinks_inactive=inactive)
    elif device.unreadable.get("nvlinks_active") == "NVML_ERROR_NOT_SUPPORTED":
        device.facts.update(nvlinks_active=0, nvlinks_inactive=0)
    if counted:
        device.facts["nvlink_errors"] = errors
    if hasattr(pynvml, "c_nvmlGpuFabricInfo_v2_t"):
        fabric = pynvml.c_nvmlGpuFabricInfo_v2_t()
        if device.ask("fabric_state", "nvmlDeviceGetGpuFabricInfoV", byref(fabric)) is not None:
            states = {0: "", 1: "Not Started", 2: "In Progress", 3: "Completed"}
            device.facts["fabric_state"] = states.get(fabric.state, str(fabric.state))
            if fabric.state == 3:
                device.facts["fabric_status"] = CODES.get(fabric.status, "Success" if not fabric.status else "unknown")


def field_values(device):
    """What NVML tells by number alone: the driver's wish for recovery and the temperature of the memory."""
    wanted = (("recovery_value", 230), ("memory_temperature_celsius", 82))
    values = device.ask("recovery_action", "nvmlDeviceGetFieldValues", [number for _, number in wanted])
    if values is None:
        return
    for position, (field, _) in enumerate(wanted):
        value = values[position]
        if value.nvmlReturn == 0:
            device.facts[field] = value.value.uiVal
        else:
            device.unreadable[field] = CODES.get(value.nvmlReturn, "NVML_ERROR_%s" % value.nvmlReturn)
    if device.unreadable.get("recovery_value"):
        device.unreadable["recovery_action"] = device.unreadable.pop("recovery_value")


def processes(device):
    """Who holds memory on the GPU; a process in another container or of another user may have no name."""
    found = {}
    for kind, call in (
        ("graphics", "nvmlDeviceGetGraphicsRunningProcesses"),
        ("compute", "nvmlDeviceGetComputeRunningProcesses"),
    ):
        running = device.ask("processes", call)
        if running is None:
            return
        for process in running:
            found[process.pid] = {
                "process_id": process.pid,
                "memory_bytes": process.usedGpuMemory,
                "kind": kind,
                "name": process_name(process.pid),
                "ours": parent_of(process.pid) == os.getppid(),
            }
    device.facts["processes"] = [found[number] for number in sorted(found)]


def parent_of(number):
    """Return the process that started another one; None where it may not be seen."""
    try:
        with open("/proc/%d/stat" % number, "rb") as file:
            return int(file.read(1000).rpartition(b")")[2].split()[1])
    except Exception:
        return None


def process_name(number):
    """Return the program's name without its arguments, which may hold secrets; empty where it may not be seen."""
    try:
        with open("/proc/%d/comm" % number, "rb") as file:
            return file.read(200).decode("utf-8", "replace").strip()
    except Exception:
        pass
    try:
        return os.path.basename(text(pynvml.nvmlSystemGetProcessName(number)).split(" ")[0])
    except Exception:
        return ""


def examine(index):
    """Say all that one GPU tells."""
    device = Device(index)
    channel.say("stage", call="nvmlDeviceGetHandleByIndex", gpu=index)
    try:
        device.handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except Exception as error:
        device.state = code_name(error)
    if device.handle is not None:
        for part in (identity, use, memory_health, modes, links, field_values, processes):
            # A GPU that is lost answers nothing more, and each further question may take seconds.
            if device.state != "ok":
                break
            try:
                part(device)
            except Exception as error:
                device.unreadable[part.__name__] = "%s: %s" % (type(error).__name__, error)
    channel.say("gpu", state=device.state, unreadable=device.unreadable, **device.facts)


def main():
    """Ask the library about the driver, then about each GPU."""
    try:
        start()
    except Exception as error:
        channel.say("nvml", state=code_name(error), message=str(error), library_path=library_path())
        return
    driver = ask_driver("nvmlSystemGetDriverVersion")
    cuda = ask_driver("nvmlSystemGetCudaDriverVersion_v2")
    channel.say(
        "driver",
        library_path=library_path(),
        driver_version=None if driver is None else text(driver),
        cuda_version=None if not cuda else "%d.%d" % (cuda // 1000, cuda % 1000 // 10),
    )
    channel.say("stage", call="nvmlDeviceGetCount")
    try:
        count = pynvml.nvmlDeviceGetCount()
    except Exception as error:
        channel.say("nvml", state=code_name(error), message="nvmlDeviceGetCount: %s" % error)
        return
    for index in range(min(count, 64)):
        examine(index)
    channel.say("nvml", state="ok", count=count)


if __name__ == "__main__":
    main()
    # Not nvmlShutdown: with a broken driver it may hang, and the process ends anyway.
    channel.end(0)
    sys.exit(0)
