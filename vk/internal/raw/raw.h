// The part of Vulkan that raw.c uses, declared by hand so that no Vulkan header need be installed.
// Names are those of the specification with Vx for Vk where a type is cut down.
#ifndef VKEFFNET_RAW_H
#define VKEFFNET_RAW_H
#include <stddef.h>
#include <stdint.h>

typedef struct {
	uint32_t sType;
	void *pNext;
	uint32_t flag[8]; // VkBool32 members in order; no feature structure used here has more
} VxFeatures;

typedef struct {
	uint32_t haveDriver, haveSizes;       // in: which extension structures may be chained
	char driverName[256], driverInfo[256];
	uint8_t uuid[16];
	uint32_t subgroupSize, subgroupStages, subgroupOps;
	uint32_t subgroupMin, subgroupMax, subgroupStagesSized, maxSubgroups;
	uint64_t maxAllocation;
} VxProperties;

typedef struct {
	uint32_t m, n, k, a, b, c, d, saturating, scope;
	uint32_t invocations; // of flexible dimensions only
} VxCoopMat;

typedef struct {
	uint32_t flags, count, timestampBits;
} VxQueueFamily;

typedef struct {
	char name[256];
	uint32_t format; // VkPipelineExecutableStatisticFormatKHR
	uint64_t bits;   // of the value
} VxStatistic;

const char *vx_open(const char *library, void **getInstanceProcAddr);
int32_t vx_instance_version(uint32_t *version);
int32_t vx_layer_version(const char *name, uint32_t *version);
int32_t vx_create_instance(uint32_t api, const char *name, uint32_t nLayers, const char **layers,
	uint32_t nExtensions, const char **extensions, int synchronization, uintptr_t id, void **instance);
void vx_load(void *instance);
int32_t vx_create_messenger(void *instance, uintptr_t id, uint64_t *messenger);
void vx_destroy_messenger(void *instance, uint64_t messenger);

int32_t vx_device_extensions(void *physical, uint32_t *n, char *names);
uint32_t vx_queue_families(void *physical, uint32_t n, VxQueueFamily *out);
void vx_properties(void *physical, VxProperties *p);
void vx_features(void *physical, uint32_t n, const uint32_t *types, uint32_t *flags, uint32_t *core);
int32_t vx_coopmat(int flexible, void *instance, void *physical, uint32_t *n, VxCoopMat *out);
int32_t vx_create_device(void *physical, uint32_t family, uint32_t nExtensions, const char **extensions,
	uint32_t n, const uint32_t *types, const uint32_t *flags, const uint32_t *core, void **device);

const void *vx_addressable(void);
uint64_t vx_address(void *device, void *buffer, int extension);

int32_t vx_create_pipeline(void *device, void *cache, void *module, void *layout, uint32_t nSpec,
	const uint32_t *ids, const uint32_t *words, uint32_t subgroupSize, int fullSubgroups, uint32_t flags, void **pipeline);
int32_t vx_executables(void *instance, void *device, void *pipeline, uint32_t *n, uint32_t *subgroupSize);
int32_t vx_statistics(void *instance, void *device, void *pipeline, uint32_t *n, VxStatistic *out);
int32_t vx_clock_domains(void *instance, void *physical, uint32_t *n, uint32_t *domains);
int32_t vx_clock(void *instance, void *device, uint64_t *ticks);
int32_t vx_create_set_layout(void *device, uint32_t bindings, void **layout);
int32_t vx_create_layout(void *device, void *set, uint32_t push, void **layout);
int32_t vx_create_descriptor_pool(void *device, uint32_t sets, uint32_t buffers, void **pool);
int32_t vx_allocate_set(void *device, void *pool, void *layout, void **set);
void vx_update_set(void *device, void *set, uint32_t n, void **buffers, const uint64_t *offsets, const uint64_t *sizes);
void vx_barrier(void *commands, uint32_t srcStage, uint32_t dstStage, uint32_t srcAccess, uint32_t dstAccess);
void vx_copy(void *commands, void *src, uint64_t srcOffset, void *dst, uint64_t dstOffset, uint64_t size);
int32_t vx_submit(void *queue, uint32_t n, void **commands, void *fence);
int32_t vx_wait(void *device, void *fence, uint64_t timeout);
int32_t vx_reset_fence(void *device, void *fence);
#endif
