/* A libnvidia-ml.so.1 for tests: it answers from the text file that FAKE_NVML names.
 *
 * One line an answer, `KEY VALUE`; a later line wins, `*` stands for every GPU:
 *
 *   driver 580.95.05            nvmlSystemGetDriverVersion
 *   cuda 13000                  nvmlSystemGetCudaDriverVersion_v2
 *   gpus 2                      nvmlDeviceGetCount_v2
 *   0.name NVIDIA Example       a field of GPU 0; a field without a line is not supported by that GPU
 *   return.nvmlInitWithFlags 9          that function returns that code
 *   1.return.nvmlDeviceGetName 15       only for GPU 1
 *   hang.nvmlDeviceGetCount_v2 1        that function never returns
 *   crash.nvmlDeviceGetCount_v2 1       that function ends the process with SIGSEGV
 *
 * Signatures as in NVIDIA's NVML API reference; nothing of NVIDIA's code is here.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned int uint;
typedef unsigned long long ulong64;
typedef void *Device;

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, INVALID = 2 };

#define MOST 2048
static char keys[MOST][96], values[MOST][160];
static int lines = -1;

static void load(void) {
    if (lines >= 0) return;
    lines = 0;
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[320];
    while (file && lines < MOST && fgets(line, sizeof line, file)) {
        char *blank = strchr(line, ' ');
        line[strcspn(line, "\r\n")] = 0;
        if (!blank || line[0] == '#') continue;
        *blank = 0;
        snprintf(keys[lines], sizeof keys[0], "%s", line);
        snprintf(values[lines], sizeof values[0], "%s", blank + 1);
        lines++;
    }
    if (file) fclose(file);
}

static const char *find(int gpu, const char *key) {
    char own[128], all[128];
    const char *found = NULL;
    load();
    snprintf(own, sizeof own, "%d.%s", gpu, key);
    snprintf(all, sizeof all, "*.%s", key);
    for (int i = 0; i < lines; i++)
        if (gpu < 0 ? !strcmp(keys[i], key) : (!strcmp(keys[i], own) || !strcmp(keys[i], all))) found = values[i];
    return found;
}

/* What the file wants of a call: its return code, or that it hangs or crashes. */
static int called(int gpu, const char *function) {
    char key[128];
    const char *wish;
    for (int level = gpu < 0 ? -1 : gpu;; level = -1) {
        snprintf(key, sizeof key, "hang.%s", function);
        if (find(level, key)) for (;;) pause();
        snprintf(key, sizeof key, "crash.%s", function);
        if (find(level, key)) raise(SIGSEGV);
        snprintf(key, sizeof key, "return.%s", function);
        if ((wish = find(level, key))) return atoi(wish);
        if (level == -1) return SUCCESS;
    }
}

static int index_of(Device device) { return (int)(size_t)device - 1; }

static int number(Device device, const char *function, const char *field, ulong64 *out) {
    int code = called(index_of(device), function);
    const char *value = find(index_of(device), field);
    if (code) return code;
    if (!value) return NOT_SUPPORTED;
    *out = strtoull(value, NULL, 0);
    return SUCCESS;
}

static int words(Device device, const char *function, const char *field, char *out, uint size) {
    int code = called(index_of(device), function);
    const char *value = find(index_of(device), field);
    if (code) return code;
    if (!value) return NOT_SUPPORTED;
    snprintf(out, size, "%s", value);
    return SUCCESS;
}

#define UINT(function, field)                                  \
    int function(Device device, uint *out) {                   \
        ulong64 value;                                         \
        int code = number(device, #function, field, &value);   \
        if (!code) *out = (uint)value;                         \
        return code;                                           \
    }

#define UINT_OF(function, field)                               \
    int function(Device device, uint kind, uint *out) {        \
        char name[64];                                         \
        ulong64 value;                                         \
        snprintf(name, sizeof name, field ".%u", kind);        \
        int code = number(device, #function, name, &value);    \
        if (!code) *out = (uint)value;                         \
        return code;                                           \
    }

int nvmlInitWithFlags(uint flags) { (void)flags; return called(-1, "nvmlInitWithFlags"); }
int nvmlInit_v2(void) { return called(-1, "nvmlInit_v2"); }
int nvmlShutdown(void) { return called(-1, "nvmlShutdown"); }

const char *nvmlErrorString(int code) {
    static char text[64];
    snprintf(text, sizeof text, "fake text of return code %d", code);
    return text;
}

int nvmlSystemGetDriverVersion(char *out, uint size) {
    int code = called(-1, "nvmlSystemGetDriverVersion");
    const char *value = find(-1, "driver");
    if (!code) snprintf(out, size, "%s", value ? value : "0.0");
    return code;
}

int nvmlSystemGetCudaDriverVersion_v2(int *out) {
    int code = called(-1, "nvmlSystemGetCudaDriverVersion_v2");
    const char *value = find(-1, "cuda");
    if (!code) *out = value ? atoi(value) : 0;
    return code;
}

int nvmlSystemGetProcessName(uint pid, char *out, uint size) {
    char key[64];
    snprintf(key, sizeof key, "process.%u", pid);
    const char *value = find(-1, key);
    int code = called(-1, "nvmlSystemGetProcessName");
    if (!code) snprintf(out, size, "%s", value ? value : "");
    return code;
}

int nvmlDeviceGetCount_v2(uint *out) {
    int code = called(-1, "nvmlDeviceGetCount_v2");
    const char *value = find(-1, "gpus");
    if (!code) *out = value ? (uint)atoi(value) : 0;
    return code;
}

int nvmlDeviceGetHandleByIndex_v2(uint gpu, Device *out) {
    int code = called((int)gpu, "nvmlDeviceGetHandleByIndex_v2");
    if (!code) *out = (Device)(size_t)(gpu + 1);
    return code;
}

int nvmlDeviceGetName(Device d, char *out, uint size) { return words(d, "nvmlDeviceGetName", "name", out, size); }
int nvmlDeviceGetUUID(Device d, char *out, uint size) { return words(d, "nvmlDeviceGetUUID", "uuid", out, size); }
int nvmlDeviceGetVbiosVersion(Device d, char *out, uint size) {
    return words(d, "nvmlDeviceGetVbiosVersion", "vbios", out, size);
}

struct Pci { char legacy[16]; uint domain, bus, device, id, subsystem; char bus_id[32]; };

int nvmlDeviceGetPciInfo_v3(Device d, struct Pci *out) {
    char place[32];
    int code = words(d, "nvmlDeviceGetPciInfo_v3", "pci", place, sizeof place);
    if (code) return code;
    memset(out, 0, sizeof *out);
    sscanf(place, "%x:%x:%x", &out->domain, &out->bus, &out->device);
    snprintf(out->bus_id, sizeof out->bus_id, "%08x:%02x:%02x.0", out->domain, out->bus, out->device);
    return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(Device d, int *major, int *minor) {
    char text[16];
    int code = words(d, "nvmlDeviceGetCudaComputeCapability", "capability", text, sizeof text);
    if (!code) sscanf(text, "%d.%d", major, minor);
    return code;
}

UINT(nvmlDeviceGetMinorNumber, "minor")

struct Memory { ulong64 total, free, used; };

int nvmlDeviceGetMemoryInfo(Device d, struct Memory *out) {
    int code = number(d, "nvmlDeviceGetMemoryInfo", "memory_total", &out->total);
    if (!code) code = number(d, "nvmlDeviceGetMemoryInfo", "memory_used", &out->used);
    if (!code) out->free = out->total - out->used;
    return code;
}

struct Utilization { uint gpu, memory; };

int nvmlDeviceGetUtilizationRates(Device d, struct Utilization *out) {
    ulong64 value;
    int code = number(d, "nvmlDeviceGetUtilizationRates", "utilization", &value);
    if (!code) { out->gpu = (uint)value; out->memory = 0; }
    return code;
}

UINT_OF(nvmlDeviceGetTemperature, "temperature")
UINT_OF(nvmlDeviceGetTemperatureThreshold, "temperature_threshold")
UINT(nvmlDeviceGetPowerUsage, "power_milliwatts")
UINT(nvmlDeviceGetEnforcedPowerLimit, "power_limit_milliwatts")
UINT(nvmlDeviceGetPowerManagementDefaultLimit, "power_limit_default_milliwatts")
UINT_OF(nvmlDeviceGetClockInfo, "clock")
UINT_OF(nvmlDeviceGetMaxClockInfo, "clock_max")
UINT(nvmlDeviceGetPerformanceState, "performance_state")

int nvmlDeviceGetCurrentClocksEventReasons(Device d, ulong64 *out) {
    return number(d, "nvmlDeviceGetCurrentClocksEventReasons", "throttle_mask", out);
}
int nvmlDeviceGetCurrentClocksThrottleReasons(Device d, ulong64 *out) {
    return number(d, "nvmlDeviceGetCurrentClocksThrottleReasons", "throttle_mask", out);
}

int nvmlDeviceGetEccMode(Device d, int *current, int *pending) {
    ulong64 now, then;
    int code = number(d, "nvmlDeviceGetEccMode", "ecc", &now);
    if (code) return code;
    if (number(d, "nvmlDeviceGetEccMode", "ecc_pending", &then)) then = now;
    *current = (int)now;
    *pending = (int)then;
    return SUCCESS;
}

int nvmlDeviceGetTotalEccErrors(Device d, int kind, int counter, ulong64 *out) {
    char field[32];
    snprintf(field, sizeof field, "ecc_errors.%d.%d", kind, counter);
    return number(d, "nvmlDeviceGetTotalEccErrors", field, out);
}

struct Sram { uint version; ulong64 counters[11]; uint exceeded; };

int nvmlDeviceGetSramEccErrorStatus(Device d, struct Sram *out) {
    ulong64 value;
    int code = number(d, "nvmlDeviceGetSramEccErrorStatus", "sram_exceeded", &value);
    if (!code) out->exceeded = (uint)value;
    return code;
}

int nvmlDeviceGetRemappedRows(Device d, uint *corrected, uint *uncorrected, uint *pending, uint *failed) {
    char text[64];
    int code = words(d, "nvmlDeviceGetRemappedRows", "remapped", text, sizeof text);
    if (!code) sscanf(text, "%u %u %u %u", corrected, uncorrected, pending, failed);
    return code;
}

int nvmlDeviceGetRetiredPages(Device d, int cause, uint *count, ulong64 *out) {
    char field[32];
    ulong64 value;
    snprintf(field, sizeof field, "retired.%d", cause);
    int code = number(d, "nvmlDeviceGetRetiredPages", field, &value);
    if (code) return code;
    if (!out && value) { *count = (uint)value; return TOO_SMALL; }
    for (uint i = 0; out && i < value; i++) out[i] = i;
    *count = (uint)value;
    return SUCCESS;
}

UINT(nvmlDeviceGetRetiredPagesPendingStatus, "retired_pending")

struct Repair { uint version, channel, cluster; };

int nvmlDeviceGetRepairStatus(Device d, struct Repair *out) {
    ulong64 value;
    int code = number(d, "nvmlDeviceGetRepairStatus", "repair_pending", &value);
    if (!code) { out->channel = (uint)value; out->cluster = 0; }
    return code;
}

int nvmlDeviceValidateInforom(Device d) {
    ulong64 value;
    return number(d, "nvmlDeviceValidateInforom", "inforom", &value);
}

UINT(nvmlDeviceGetPersistenceMode, "persistence")
UINT(nvmlDeviceGetComputeMode, "compute_mode")

int nvmlDeviceGetMigMode(Device d, uint *current, uint *pending) {
    ulong64 value;
    int code = number(d, "nvmlDeviceGetMigMode", "mig", &value);
    if (!code) *current = *pending = (uint)value;
    return code;
}

UINT(nvmlDeviceGetMaxMigDeviceCount, "mig_most")

int nvmlDeviceGetMigDeviceHandleByIndex(Device d, uint index, Device *out) {
    char field[32];
    ulong64 value;
    /* The instance's own fields stand under the number of another, invisible GPU. */
    snprintf(field, sizeof field, "mig_instance.%u", index);
    int code = number(d, "nvmlDeviceGetMigDeviceHandleByIndex", field, &value);
    if (code) return code == NOT_SUPPORTED ? NOT_FOUND : code;
    *out = (Device)(size_t)(value + 1);
    return SUCCESS;
}

UINT(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_generation")
UINT(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_generation_max")
UINT(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width")
UINT(nvmlDeviceGetMaxPcieLinkWidth, "pcie_width_max")
UINT(nvmlDeviceGetPcieReplayCounter, "pcie_replays")

struct Bar1 { ulong64 total, free, used; };

int nvmlDeviceGetBAR1MemoryInfo(Device d, struct Bar1 *out) {
    return number(d, "nvmlDeviceGetBAR1MemoryInfo", "bar1_total", &out->total);
}

int nvmlDeviceGetNvLinkState(Device d, uint link, uint *active) {
    ulong64 links, down;
    int code = number(d, "nvmlDeviceGetNvLinkState", "nvlinks", &links);
    if (code) return code;
    if (link >= links) return INVALID;
    if (number(d, "nvmlDeviceGetNvLinkState", "nvlinks_down", &down)) down = 0;
    *active = link >= down;
    return SUCCESS;
}

int nvmlDeviceGetNvLinkErrorCounter(Device d, uint link, int counter, ulong64 *out) {
    (void)link;
    (void)counter;
    return number(d, "nvmlDeviceGetNvLinkErrorCounter", "nvlink_errors", out);
}

struct Fabric { uint version; unsigned char cluster[16]; int status; uint clique; unsigned char state; uint health; };

int nvmlDeviceGetGpuFabricInfoV(Device d, struct Fabric *out) {
    ulong64 state, status;
    int code = number(d, "nvmlDeviceGetGpuFabricInfoV", "fabric_state", &state);
    if (code) return code;
    if (number(d, "nvmlDeviceGetGpuFabricInfoV", "fabric_status", &status)) status = 0;
    out->state = (unsigned char)state;
    out->status = (int)status;
    return SUCCESS;
}

struct FieldValue {
    uint id, scope;
    long long timestamp, latency;
    uint kind;
    int code;
    union { double real; uint small; ulong64 big; } value;
};

int nvmlDeviceGetFieldValues(Device d, int count, struct FieldValue *out) {
    int code = called(index_of(d), "nvmlDeviceGetFieldValues");
    for (int i = 0; !code && i < count; i++) {
        char field[32];
        ulong64 value;
        snprintf(field, sizeof field, "field.%u", out[i].id);
        out[i].code = number(d, "field", field, &value);
        if (!out[i].code) out[i].value.big = value;
    }
    return code;
}

struct Process { uint pid; ulong64 memory; uint gpu_instance, compute_instance; };

static int processes(Device d, const char *function, const char *field, uint *count, struct Process *out) {
    char text[160], *rest = text;
    uint found = 0, room = *count;
    int code = words(d, function, field, text, sizeof text);
    if (code == NOT_SUPPORTED) { *count = 0; return SUCCESS; }
    if (code) return code;
    /* "PID=BYTES PID=BYTES" */
    for (char *word; (word = strtok_r(rest, " ", &rest)); found++)
        if (out && found < room) {
            memset(&out[found], 0, sizeof *out);
            out[found].pid = (uint)strtoul(word, NULL, 10);
            out[found].memory = strtoull(strchr(word, '=') + 1, NULL, 10);
        }
    *count = found;
    return out ? SUCCESS : TOO_SMALL;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Device d, uint *count, struct Process *out) {
    return processes(d, "nvmlDeviceGetComputeRunningProcesses_v3", "compute", count, out);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(Device d, uint *count, struct Process *out) {
    return processes(d, "nvmlDeviceGetGraphicsRunningProcesses_v3", "graphics", count, out);
}
