#include "raw.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include "_cgo_export.h"

// Values of VkStructureType.
enum {
	S_APPLICATION_INFO = 0,
	S_INSTANCE_CREATE_INFO = 1,
	S_DEVICE_QUEUE_CREATE_INFO = 2,
	S_DEVICE_CREATE_INFO = 3,
	S_SUBMIT_INFO = 4,
	S_PIPELINE_SHADER_STAGE_CREATE_INFO = 18,
	S_COMPUTE_PIPELINE_CREATE_INFO = 29,
	S_PIPELINE_LAYOUT_CREATE_INFO = 30,
	S_DESCRIPTOR_SET_LAYOUT_CREATE_INFO = 32,
	S_DESCRIPTOR_POOL_CREATE_INFO = 33,
	S_DESCRIPTOR_SET_ALLOCATE_INFO = 34,
	S_WRITE_DESCRIPTOR_SET = 35,
	S_MEMORY_BARRIER = 46,
	S_FEATURES_2 = 1000059000,
	S_PROPERTIES_2 = 1000059001,
	S_MEMORY_ALLOCATE_FLAGS_INFO = 1000060000,
	S_ID_PROPERTIES = 1000071004,
	S_SUBGROUP_PROPERTIES = 1000094000,
	S_DEBUG_UTILS_CALLBACK_DATA = 1000128003,
	S_DEBUG_UTILS_MESSENGER_CREATE_INFO = 1000128004,
	S_MAINTENANCE_3_PROPERTIES = 1000168000,
	S_DRIVER_PROPERTIES = 1000196000,
	S_SUBGROUP_SIZE_CONTROL_PROPERTIES = 1000225000,
	S_REQUIRED_SUBGROUP_SIZE = 1000225001,
	S_CALIBRATED_TIMESTAMP_INFO = 1000184000,
	S_BUFFER_DEVICE_ADDRESS_INFO = 1000244001,
	S_VALIDATION_FEATURES = 1000247000,
	S_PIPELINE_INFO = 1000269001,
	S_PIPELINE_EXECUTABLE_PROPERTIES = 1000269002,
	S_PIPELINE_EXECUTABLE_INFO = 1000269003,
	S_PIPELINE_EXECUTABLE_STATISTIC = 1000269004,
	S_COOPERATIVE_MATRIX_PROPERTIES = 1000506001,
	S_COOPERATIVE_MATRIX_FLEXIBLE_DIMENSIONS_PROPERTIES = 1000593001,
};

typedef int32_t VkResult;
typedef void (*Fn)(void);

static Fn (*getProc)(void *instance, const char *name);

// Core functions; the loader's trampolines serve every instance, so one table is enough.
#define FUNCTIONS \
	F(VkResult, EnumerateDeviceExtensionProperties, void *, const char *, uint32_t *, void *) \
	F(void, GetPhysicalDeviceQueueFamilyProperties, void *, uint32_t *, void *) \
	F(void, GetPhysicalDeviceProperties2, void *, void *) \
	F(void, GetPhysicalDeviceFeatures2, void *, void *) \
	F(VkResult, CreateDevice, void *, const void *, const void *, void **) \
	F(Fn, GetDeviceProcAddr, void *, const char *) \
	F(VkResult, CreateComputePipelines, void *, void *, uint32_t, const void *, const void *, void **) \
	F(VkResult, CreateDescriptorSetLayout, void *, const void *, const void *, void **) \
	F(VkResult, CreatePipelineLayout, void *, const void *, const void *, void **) \
	F(VkResult, CreateDescriptorPool, void *, const void *, const void *, void **) \
	F(VkResult, AllocateDescriptorSets, void *, const void *, void **) \
	F(void, UpdateDescriptorSets, void *, uint32_t, const void *, uint32_t, const void *) \
	F(void, CmdPipelineBarrier, void *, uint32_t, uint32_t, uint32_t, uint32_t, const void *, uint32_t, const void *, uint32_t, const void *) \
	F(void, CmdCopyBuffer, void *, void *, void *, uint32_t, const void *) \
	F(VkResult, QueueSubmit, void *, uint32_t, const void *, void *) \
	F(VkResult, WaitForFences, void *, uint32_t, void **, uint32_t, uint64_t) \
	F(VkResult, ResetFences, void *, uint32_t, void **)

#define F(result, name, ...) static result (*vk##name)(__VA_ARGS__);
FUNCTIONS
#undef F

const char *vx_open(const char *library, void **getInstanceProcAddr) {
	void *lib = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (!lib) return dlerror();
	*getInstanceProcAddr = dlsym(lib, "vkGetInstanceProcAddr");
	if (!*getInstanceProcAddr) return "the Vulkan loader has no vkGetInstanceProcAddr";
	getProc = (Fn(*)(void *, const char *))*getInstanceProcAddr;
	return NULL;
}

void vx_load(void *instance) {
#define F(result, name, ...) vk##name = (result(*)(__VA_ARGS__))getProc(instance, "vk" #name);
	FUNCTIONS
#undef F
}

int32_t vx_instance_version(uint32_t *version) {
	VkResult (*f)(uint32_t *) = (VkResult(*)(uint32_t *))getProc(NULL, "vkEnumerateInstanceVersion");
	if (!f) { // a Vulkan 1.0 loader
		*version = 1 << 22;
		return 0;
	}
	return f(version);
}

typedef struct {
	char name[256];
	uint32_t version;
} Extension;

typedef struct {
	char name[256];
	uint32_t specVersion, implementationVersion;
	char description[256];
} Layer;

// Copies the names of count structures of the given size, each of which begins with char name[256].
static void copy_names(char *names, const char *from, size_t size, uint32_t count) {
	for (uint32_t i = 0; i < count; i++) memcpy(names + 256 * i, from + size * i, 256);
}

// Gives the version of Vulkan that a layer was written for; 0 if there is no such layer.
int32_t vx_layer_version(const char *name, uint32_t *version) {
	VkResult (*f)(uint32_t *, Layer *) =
		(VkResult(*)(uint32_t *, Layer *))getProc(NULL, "vkEnumerateInstanceLayerProperties");
	uint32_t n = 0;
	*version = 0;
	VkResult r = f(&n, NULL);
	if (r < 0 || n == 0) return r;
	Layer *l = calloc(n, sizeof *l);
	r = f(&n, l);
	for (uint32_t i = 0; r >= 0 && i < n; i++)
		if (!strcmp(l[i].name, name)) *version = l[i].specVersion;
	free(l);
	return r;
}

typedef struct {
	uint32_t sType;
	const void *pNext;
	uint32_t flags;
	const char *pMessageIdName;
	int32_t messageIdNumber;
	const char *pMessage;
} CallbackData; // its beginning

typedef struct {
	uint32_t sType;
	const void *pNext;
	uint32_t flags, severity, type;
	uint32_t (*callback)(uint32_t, uint32_t, const CallbackData *, void *);
	void *user;
} MessengerInfo;

static uint32_t on_message(uint32_t severity, uint32_t type, const CallbackData *d, void *user) {
	goMessage((uintptr_t)user, (char *)(d->pMessageIdName ? d->pMessageIdName : ""), (char *)(d->pMessage ? d->pMessage : ""));
	return 0;
}

static MessengerInfo messenger_info(uintptr_t id) {
	// Severities warning and error; types validation only: the loader's own remarks are of type general.
	return (MessengerInfo){S_DEBUG_UTILS_MESSENGER_CREATE_INFO, NULL, 0, 0x100 | 0x1000, 2, on_message, (void *)id};
}

typedef struct {
	uint32_t sType;
	const void *pNext;
	const char *name;
	uint32_t version;
	const char *engine;
	uint32_t engineVersion, api;
} AppInfo;

typedef struct {
	uint32_t sType;
	const void *pNext;
	uint32_t flags;
	const AppInfo *app;
	uint32_t nLayers;
	const char **layers;
	uint32_t nExtensions;
	const char **extensions;
} InstanceInfo;

typedef struct {
	uint32_t sType;
	const void *pNext;
	uint32_t nEnabled;
	const int32_t *enabled;
	uint32_t nDisabled;
	const int32_t *disabled;
} ValidationFeatures;

int32_t vx_create_instance(uint32_t api, const char *name, uint32_t nLayers, const char **layers,
	uint32_t nExtensions, const char **extensions, int synchronization, uintptr_t id, void **instance) {
	VkResult (*f)(const InstanceInfo *, const void *, void **) =
		(VkResult(*)(const InstanceInfo *, const void *, void **))getProc(NULL, "vkCreateInstance");
	AppInfo app = {S_APPLICATION_INFO, NULL, name, 0, name, 0, api};
	const int32_t synchronizationValidation = 4; // VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT
	MessengerInfo messenger = messenger_info(id);
	ValidationFeatures features = {S_VALIDATION_FEATURES, &messenger, 1, &synchronizationValidation, 0, NULL};
	InstanceInfo info = {S_INSTANCE_CREATE_INFO, synchronization ? &features : NULL, 0, &app, nLayers, layers, nExtensions, extensions};
	return f(&info, NULL, instance);
}

int32_t vx_create_messenger(void *instance, uintptr_t id, uint64_t *messenger) {
	VkResult (*f)(void *, const MessengerInfo *, const void *, uint64_t *) =
		(VkResult(*)(void *, const MessengerInfo *, const void *, uint64_t *))getProc(instance, "vkCreateDebugUtilsMessengerEXT");
	if (!f) return -7; // VK_ERROR_EXTENSION_NOT_PRESENT
	MessengerInfo info = messenger_info(id);
	return f(instance, &info, NULL, messenger);
}

void vx_destroy_messenger(void *instance, uint64_t messenger) {
	void (*f)(void *, uint64_t, const void *) =
		(void (*)(void *, uint64_t, const void *))getProc(instance, "vkDestroyDebugUtilsMessengerEXT");
	if (f) f(instance, messenger, NULL);
}

int32_t vx_device_extensions(void *physical, uint32_t *n, char *names) {
	if (!names) return vkEnumerateDeviceExtensionProperties(physical, NULL, n, NULL);
	Extension *e = calloc(*n, sizeof *e);
	VkResult r = vkEnumerateDeviceExtensionProperties(physical, NULL, n, e);
	copy_names(names, (char *)e, sizeof *e, *n);
	free(e);
	return r;
}

uint32_t vx_queue_families(void *physical, uint32_t n, VxQueueFamily *out) {
	struct { uint32_t flags, count, timestampBits, granularity[3]; } families[32];
	if (n > 32) n = 32;
	vkGetPhysicalDeviceQueueFamilyProperties(physical, &n, families);
	for (uint32_t i = 0; i < n; i++)
		out[i] = (VxQueueFamily){families[i].flags, families[i].count, families[i].timestampBits};
	return n;
}

void vx_properties(void *physical, VxProperties *p) {
	struct { uint32_t sType; void *pNext; uint32_t id; char name[256], info[256]; uint8_t conformance[4]; }
		driver = {S_DRIVER_PROPERTIES};
	struct { uint32_t sType; void *pNext; uint8_t device[16], driver[16], luid[8]; uint32_t nodes, luidValid; }
		id = {S_ID_PROPERTIES};
	struct { uint32_t sType; void *pNext; uint32_t size, stages, ops, quad; } subgroup = {S_SUBGROUP_PROPERTIES, &id};
	struct { uint32_t sType; void *pNext; uint32_t min, max, groups, stages; } sizes = {S_SUBGROUP_SIZE_CONTROL_PROPERTIES};
	struct { uint32_t sType; void *pNext; uint32_t descriptors; uint64_t allocation; }
		maintenance = {S_MAINTENANCE_3_PROPERTIES, &subgroup};
	struct { uint32_t sType; void *pNext; uint64_t core[128]; } all = {S_PROPERTIES_2, &maintenance}; // core: 824 bytes
	void **tail = &id.pNext;
	if (p->haveDriver) { *tail = &driver; tail = &driver.pNext; }
	if (p->haveSizes) { *tail = &sizes; tail = &sizes.pNext; }
	vkGetPhysicalDeviceProperties2(physical, &all);
	memcpy(p->driverName, driver.name, 256);
	memcpy(p->driverInfo, driver.info, 256);
	memcpy(p->uuid, id.device, 16);
	p->subgroupSize = subgroup.size;
	p->subgroupStages = subgroup.stages;
	p->subgroupOps = subgroup.ops;
	p->subgroupMin = sizes.min;
	p->subgroupMax = sizes.max;
	p->subgroupStagesSized = sizes.stages;
	p->maxSubgroups = sizes.groups;
	p->maxAllocation = maintenance.allocation;
}

#define CORE_FEATURES 55 // members of VkPhysicalDeviceFeatures

typedef struct {
	uint32_t sType;
	void *pNext;
	uint32_t core[CORE_FEATURES];
} Features2;

// Chains n feature structures in nodes.
static void chain(VxFeatures *nodes, uint32_t n, const uint32_t *types) {
	for (uint32_t i = 0; i < n; i++) {
		nodes[i].sType = types[i];
		nodes[i].pNext = i + 1 < n ? &nodes[i + 1] : NULL;
	}
}

void vx_features(void *physical, uint32_t n, const uint32_t *types, uint32_t *flags, uint32_t *core) {
	VxFeatures *nodes = calloc(n + 1, sizeof *nodes);
	chain(nodes, n, types);
	Features2 all = {S_FEATURES_2, n ? nodes : NULL};
	vkGetPhysicalDeviceFeatures2(physical, &all);
	for (uint32_t i = 0; i < n; i++) memcpy(flags + 8 * i, nodes[i].flag, sizeof nodes[i].flag);
	memcpy(core, all.core, sizeof all.core);
	free(nodes);
}

typedef struct {
	uint32_t sType;
	void *pNext;
	uint32_t shape[9];
} CoopMatProperties;

typedef struct {
	uint32_t sType;
	void *pNext;
	uint32_t shape[10]; // begins like the other's, and ends with the invocations
} CoopMatFlexibleProperties;

static int32_t coopmat_flexible(void *instance, void *physical, uint32_t *n, VxCoopMat *out) {
	VkResult (*f)(void *, uint32_t *, CoopMatFlexibleProperties *) = (VkResult(*)(void *, uint32_t *, CoopMatFlexibleProperties *))
		getProc(instance, "vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV");
	if (!f) {
		*n = 0;
		return 0;
	}
	if (!out) return f(physical, n, NULL);
	CoopMatFlexibleProperties *p = calloc(*n + 1, sizeof *p);
	for (uint32_t i = 0; i < *n; i++) p[i].sType = S_COOPERATIVE_MATRIX_FLEXIBLE_DIMENSIONS_PROPERTIES;
	VkResult r = f(physical, n, p);
	for (uint32_t i = 0; i < *n; i++) memcpy(&out[i], p[i].shape, sizeof p[i].shape);
	free(p);
	return r;
}

int32_t vx_coopmat(int flexible, void *instance, void *physical, uint32_t *n, VxCoopMat *out) {
	if (flexible) return coopmat_flexible(instance, physical, n, out);
	VkResult (*f)(void *, uint32_t *, CoopMatProperties *) = (VkResult(*)(void *, uint32_t *, CoopMatProperties *))
		getProc(instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
	if (!f) {
		*n = 0;
		return 0;
	}
	if (!out) return f(physical, n, NULL);
	CoopMatProperties *p = calloc(*n + 1, sizeof *p);
	for (uint32_t i = 0; i < *n; i++) p[i].sType = S_COOPERATIVE_MATRIX_PROPERTIES;
	VkResult r = f(physical, n, p);
	for (uint32_t i = 0; i < *n; i++) memcpy(&out[i], p[i].shape, sizeof p[i].shape);
	free(p);
	return r;
}

typedef struct {
	uint32_t sType;
	const void *pNext;
	uint32_t flags, family, count;
	const float *priorities;
} QueueInfo;

typedef struct {
	uint32_t sType;
	const void *pNext;
	uint32_t flags, nQueues;
	const QueueInfo *queues;
	uint32_t nLayers;
	const char **layers;
	uint32_t nExtensions;
	const char **extensions;
	const void *features;
} DeviceInfo;

int32_t vx_create_device(void *physical, uint32_t family, uint32_t nExtensions, const char **extensions,
	uint32_t n, const uint32_t *types, const uint32_t *flags, const uint32_t *core, void **device) {
	VxFeatures *nodes = calloc(n + 1, sizeof *nodes);
	chain(nodes, n, types);
	for (uint32_t i = 0; i < n; i++) memcpy(nodes[i].flag, flags + 8 * i, sizeof nodes[i].flag);
	Features2 all = {S_FEATURES_2, n ? nodes : NULL};
	memcpy(all.core, core, sizeof all.core);
	const float priority = 1;
	QueueInfo queue = {S_DEVICE_QUEUE_CREATE_INFO, NULL, 0, family, 1, &priority};
	DeviceInfo info = {S_DEVICE_CREATE_INFO, &all, 0, 1, &queue, 0, NULL, nExtensions, extensions, NULL};
	VkResult r = vkCreateDevice(physical, &info, NULL, device);
	free(nodes);
	return r;
}

typedef struct {
	uint32_t id, offset;
	size_t size;
} SpecEntry;

typedef struct {
	uint32_t n;
	const SpecEntry *entries;
	size_t size;
	const void *data;
} SpecInfo;

typedef struct {
	uint32_t sType;
	const void *pNext;
	uint32_t flags, stage;
	void *module;
	const char *entry;
	const SpecInfo *spec;
} StageInfo;

typedef struct {
	uint32_t sType;
	const void *pNext;
	uint32_t flags;
	StageInfo stage;
	void *layout, *base;
	int32_t baseIndex;
} PipelineInfo;

// The extension of VkMemoryAllocateInfo for memory whose buffers have addresses.
const void *vx_addressable(void) {
	static const struct { uint32_t sType; const void *pNext; uint32_t flags, deviceMask; }
		info = {S_MEMORY_ALLOCATE_FLAGS_INFO, NULL, 2, 0}; // DEVICE_ADDRESS
	return &info;
}

// Gives the address of a buffer; extension says that the function is the one of VK_KHR_buffer_device_address.
uint64_t vx_address(void *device, void *buffer, int extension) {
	struct { uint32_t sType; const void *pNext; void *buffer; } info = {S_BUFFER_DEVICE_ADDRESS_INFO, NULL, buffer};
	uint64_t (*f)(void *, const void *) = (uint64_t(*)(void *, const void *))
		vkGetDeviceProcAddr(device, extension ? "vkGetBufferDeviceAddressKHR" : "vkGetBufferDeviceAddress");
	return f ? f(device, &info) : 0;
}

#define REQUIRE_FULL_SUBGROUPS 2 // VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT

int32_t vx_create_pipeline(void *device, void *cache, void *module, void *layout, uint32_t nSpec,
	const uint32_t *ids, const uint32_t *words, uint32_t subgroupSize, int fullSubgroups, uint32_t flags, void **pipeline) {
	SpecEntry *entries = calloc(nSpec + 1, sizeof *entries);
	for (uint32_t i = 0; i < nSpec; i++) entries[i] = (SpecEntry){ids[i], 4 * i, 4};
	SpecInfo spec = {nSpec, entries, 4 * (size_t)nSpec, words};
	struct { uint32_t sType; const void *pNext; uint32_t size; } required = {S_REQUIRED_SUBGROUP_SIZE, NULL, subgroupSize};
	PipelineInfo info = {S_COMPUTE_PIPELINE_CREATE_INFO, NULL, flags,
		{S_PIPELINE_SHADER_STAGE_CREATE_INFO, subgroupSize ? &required : NULL,
			fullSubgroups ? REQUIRE_FULL_SUBGROUPS : 0, 0x20, module, "main", nSpec ? &spec : NULL},
		layout, NULL, -1};
	VkResult r = vkCreateComputePipelines(device, cache, 1, &info, NULL, pipeline);
	free(entries);
	return r;
}

// Gives the number of executables that the driver made of a pipeline, and the subgroup size of the first.
int32_t vx_executables(void *instance, void *device, void *pipeline, uint32_t *n, uint32_t *subgroupSize) {
	typedef struct { uint32_t sType; void *pNext; uint32_t stages; char name[256], description[256]; uint32_t subgroupSize; } Properties;
	struct { uint32_t sType; const void *pNext; void *pipeline; } info = {S_PIPELINE_INFO, NULL, pipeline};
	VkResult (*f)(void *, const void *, uint32_t *, Properties *) = (VkResult(*)(void *, const void *, uint32_t *, Properties *))
		getProc(instance, "vkGetPipelineExecutablePropertiesKHR");
	if (!f) return -7; // VK_ERROR_EXTENSION_NOT_PRESENT
	VkResult r = f(device, &info, n, NULL);
	if (r != 0 || *n == 0) return r;
	Properties *p = calloc(*n, sizeof *p);
	for (uint32_t i = 0; i < *n; i++) p[i].sType = S_PIPELINE_EXECUTABLE_PROPERTIES;
	r = f(device, &info, n, p);
	*subgroupSize = p[0].subgroupSize;
	free(p);
	return r;
}

// Lists the statistics of a pipeline's first executable.
int32_t vx_statistics(void *instance, void *device, void *pipeline, uint32_t *n, VxStatistic *out) {
	typedef struct { uint32_t sType; void *pNext; char name[256], description[256]; uint32_t format; uint64_t bits; } Statistic;
	struct { uint32_t sType; const void *pNext; void *pipeline; uint32_t index; } info = {S_PIPELINE_EXECUTABLE_INFO, NULL, pipeline, 0};
	VkResult (*f)(void *, const void *, uint32_t *, Statistic *) = (VkResult(*)(void *, const void *, uint32_t *, Statistic *))
		getProc(instance, "vkGetPipelineExecutableStatisticsKHR");
	if (!f) return -7; // VK_ERROR_EXTENSION_NOT_PRESENT
	if (!out) return f(device, &info, n, NULL);
	Statistic *s = calloc(*n, sizeof *s);
	for (uint32_t i = 0; i < *n; i++) s[i].sType = S_PIPELINE_EXECUTABLE_STATISTIC;
	VkResult r = f(device, &info, n, s);
	for (uint32_t i = 0; i < *n; i++) {
		memcpy(out[i].name, s[i].name, sizeof out[i].name);
		out[i].format = s[i].format;
		out[i].bits = s[i].bits;
	}
	free(s);
	return r;
}

// Lists the clocks (VkTimeDomainEXT) that vkGetCalibratedTimestampsEXT can read.
int32_t vx_clock_domains(void *instance, void *physical, uint32_t *n, uint32_t *domains) {
	VkResult (*f)(void *, uint32_t *, uint32_t *) = (VkResult(*)(void *, uint32_t *, uint32_t *))
		getProc(instance, "vkGetPhysicalDeviceCalibrateableTimeDomainsEXT");
	if (!f) return -7; // VK_ERROR_EXTENSION_NOT_PRESENT
	return f(physical, n, domains);
}

// Reads the clock that a device's timestamps are taken from.
int32_t vx_clock(void *instance, void *device, uint64_t *ticks) {
	typedef struct { uint32_t sType; const void *pNext; uint32_t domain; } Info;
	VkResult (*f)(void *, uint32_t, const Info *, uint64_t *, uint64_t *) = (VkResult(*)(void *, uint32_t, const Info *, uint64_t *, uint64_t *))
		getProc(instance, "vkGetCalibratedTimestampsEXT");
	if (!f) return -7; // VK_ERROR_EXTENSION_NOT_PRESENT
	Info info = {S_CALIBRATED_TIMESTAMP_INFO, NULL, 0}; // VK_TIME_DOMAIN_DEVICE_EXT
	uint64_t deviation;
	return f(device, 1, &info, ticks, &deviation);
}

int32_t vx_create_set_layout(void *device, uint32_t n, void **layout) {
	typedef struct { uint32_t binding, type, count, stages; const void *samplers; } Binding;
	Binding *b = calloc(n + 1, sizeof *b);
	for (uint32_t i = 0; i < n; i++) b[i] = (Binding){i, 7, 1, 0x20, NULL}; // STORAGE_BUFFER, COMPUTE
	struct { uint32_t sType; const void *pNext; uint32_t flags, n; const Binding *b; }
		info = {S_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, NULL, 0, n, b};
	VkResult r = vkCreateDescriptorSetLayout(device, &info, NULL, layout);
	free(b);
	return r;
}

int32_t vx_create_layout(void *device, void *set, uint32_t push, void **layout) {
	struct { uint32_t stages, offset, size; } range = {0x20, 0, push};
	struct { uint32_t sType; const void *pNext; uint32_t flags, nSets; void **sets; uint32_t nRanges; const void *ranges; }
		info = {S_PIPELINE_LAYOUT_CREATE_INFO, NULL, 0, 1, &set, push ? 1 : 0, &range};
	return vkCreatePipelineLayout(device, &info, NULL, layout);
}

int32_t vx_create_descriptor_pool(void *device, uint32_t sets, uint32_t buffers, void **pool) {
	struct { uint32_t type, count; } size = {7, buffers}; // STORAGE_BUFFER
	struct { uint32_t sType; const void *pNext; uint32_t flags, sets, n; const void *sizes; }
		info = {S_DESCRIPTOR_POOL_CREATE_INFO, NULL, 0, sets, 1, &size};
	return vkCreateDescriptorPool(device, &info, NULL, pool);
}

int32_t vx_allocate_set(void *device, void *pool, void *layout, void **set) {
	struct { uint32_t sType; const void *pNext; void *pool; uint32_t n; void **layouts; }
		info = {S_DESCRIPTOR_SET_ALLOCATE_INFO, NULL, pool, 1, &layout};
	return vkAllocateDescriptorSets(device, &info, set);
}

void vx_update_set(void *device, void *set, uint32_t n, void **buffers, const uint64_t *offsets, const uint64_t *sizes) {
	typedef struct { void *buffer; uint64_t offset, size; } BufferInfo;
	BufferInfo *b = calloc(n + 1, sizeof *b);
	for (uint32_t i = 0; i < n; i++) b[i] = (BufferInfo){buffers[i], offsets[i], sizes[i]};
	struct { uint32_t sType; const void *pNext; void *set; uint32_t binding, element, n, type; const void *images; const BufferInfo *b; const void *views; }
		write = {S_WRITE_DESCRIPTOR_SET, NULL, set, 0, 0, n, 7, NULL, b, NULL}; // runs on over the next bindings
	vkUpdateDescriptorSets(device, 1, &write, 0, NULL);
	free(b);
}

void vx_barrier(void *commands, uint32_t srcStage, uint32_t dstStage, uint32_t srcAccess, uint32_t dstAccess) {
	struct { uint32_t sType; const void *pNext; uint32_t src, dst; } barrier = {S_MEMORY_BARRIER, NULL, srcAccess, dstAccess};
	vkCmdPipelineBarrier(commands, srcStage, dstStage, 0, 1, &barrier, 0, NULL, 0, NULL);
}

void vx_copy(void *commands, void *src, uint64_t srcOffset, void *dst, uint64_t dstOffset, uint64_t size) {
	struct { uint64_t src, dst, size; } region = {srcOffset, dstOffset, size};
	vkCmdCopyBuffer(commands, src, dst, 1, &region);
}

int32_t vx_submit(void *queue, uint32_t n, void **commands, void *fence) {
	struct { uint32_t sType; const void *pNext; uint32_t nWait; const void *wait; const uint32_t *stages; uint32_t n; void **commands; uint32_t nSignal; const void *signal; }
		info = {S_SUBMIT_INFO, NULL, 0, NULL, NULL, n, commands, 0, NULL};
	return vkQueueSubmit(queue, 1, &info, fence);
}

int32_t vx_wait(void *device, void *fence, uint64_t timeout) { return vkWaitForFences(device, 1, &fence, 1, timeout); }

int32_t vx_reset_fence(void *device, void *fence) { return vkResetFences(device, 1, &fence); }
