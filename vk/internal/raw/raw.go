// Package raw reaches the Vulkan calls that package vk cannot make through github.com/vulkan-go/vulkan:
//
//   - opening libvulkan.so.1 (the binding looks for libvulkan.so, which only the -dev package has);
//   - everything newer than the binding's headers (1.1.88): feature chains, driver and subgroup properties,
//     cooperative matrices, pipeline statistics, validation features, debug messages;
//   - calls that take a slice of structures or strings. The binding copies these to C memory that a finalizer
//     frees, and nothing keeps that finalizer from running during the call; replaying must not allocate either.
//
// No call here keeps Go memory. Handles are pointers, so only 64-bit systems are served.
package raw

// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "raw.h"
import "C"

import (
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"
)

var loader struct {
	sync.Mutex
	opened, loaded bool
}

// Library is the Vulkan loader; only tests change it.
var Library = "libvulkan.so.1"

// Open opens the loader, once per process, and hands it to the binding.
func Open() error {
	loader.Lock()
	defer loader.Unlock()
	if loader.opened {
		return nil
	}
	runtime.LockOSThread() // dlerror is per thread
	defer runtime.UnlockOSThread()
	name := C.CString(Library)
	defer C.free(unsafe.Pointer(name))
	var proc unsafe.Pointer
	if msg := C.vx_open(name, &proc); msg != nil {
		return errors.New(C.GoString(msg))
	}
	vk.SetGetInstanceProcAddr(proc)
	if err := vk.Init(); err != nil {
		return err
	}
	loader.opened = true
	return nil
}

// Load looks up the core functions, once per process: the loader's entry points serve every instance.
func Load(instance vk.Instance) error {
	loader.Lock()
	defer loader.Unlock()
	if loader.loaded {
		return nil
	}
	if err := vk.InitInstance(instance); err != nil {
		return err
	}
	C.vx_load(unsafe.Pointer(instance))
	loader.loaded = true
	return nil
}

// cstrings is a C array of C strings.
type cstrings []*C.char

func newStrings(s []string) (cstrings, func()) {
	c := make(cstrings, len(s)+1) // never empty, so that its address can be taken
	for i, x := range s {
		c[i] = C.CString(x)
	}
	var pin runtime.Pinner
	pin.Pin(&c[0])
	return c, func() {
		pin.Unpin()
		for _, p := range c[:len(s)] {
			C.free(unsafe.Pointer(p))
		}
	}
}

// InstanceVersion is vkEnumerateInstanceVersion.
func InstanceVersion() (uint32, vk.Result) {
	var v C.uint32_t
	r := vk.Result(C.vx_instance_version(&v))
	return uint32(v), r
}

// LayerVersion is the version of Vulkan that a layer was written for; 0 if it is not installed.
func LayerVersion(name string) (uint32, vk.Result) {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	var v C.uint32_t
	r := vk.Result(C.vx_layer_version(c, &v))
	return uint32(v), r
}

// DeviceExtensions names the extensions of a device.
func DeviceExtensions(p vk.PhysicalDevice) ([]string, vk.Result) {
	for {
		var n C.uint32_t
		if r := vk.Result(C.vx_device_extensions(unsafe.Pointer(p), &n, nil)); r != vk.Success || n == 0 {
			return nil, r
		}
		buf := make([]byte, 256*n)
		r := vk.Result(C.vx_device_extensions(unsafe.Pointer(p), &n, (*C.char)(unsafe.Pointer(&buf[0]))))
		if r == vk.Incomplete {
			continue
		}
		var out []string
		for i := range int(n) {
			out = append(out, vk.ToString(buf[256*i:256*i+256]))
		}
		return out, r
	}
}

// CreateInstance is vkCreateInstance. A non-nil messages switches synchronization validation on and
// receives what is said during creation and destruction.
func CreateInstance(api uint32, name string, layers, extensions []string, messages *Messages) (vk.Instance, vk.Result) {
	cname := C.CString(name)
	defer C.free(unsafe.Pointer(cname))
	l, freeLayers := newStrings(layers)
	defer freeLayers()
	e, freeExtensions := newStrings(extensions)
	defer freeExtensions()
	var id uintptr
	var sync C.int
	if messages != nil {
		id, sync = messages.id, 1
	}
	var out unsafe.Pointer
	r := C.vx_create_instance(C.uint32_t(api), cname, C.uint32_t(len(layers)), &l[0],
		C.uint32_t(len(extensions)), &e[0], sync, C.uintptr_t(id), &out)
	return vk.Instance(out), vk.Result(r)
}

// QueueFamily is the part of VkQueueFamilyProperties that matters here.
type QueueFamily struct{ Flags, Count, TimestampBits uint32 }

// QueueFamilies lists at most 32 queue families.
func QueueFamilies(p vk.PhysicalDevice) []QueueFamily {
	var c [32]C.VxQueueFamily
	n := C.vx_queue_families(unsafe.Pointer(p), 32, &c[0])
	var out []QueueFamily
	for _, q := range c[:n] {
		out = append(out, QueueFamily{uint32(q.flags), uint32(q.count), uint32(q.timestampBits)})
	}
	return out
}

// Properties are those that the binding does not know.
type Properties struct {
	DriverName, DriverInfo                    string
	UUID                                      [16]byte
	SubgroupSize, SubgroupStages, SubgroupOps uint32
	SubgroupMin, SubgroupMax                  uint32 // 0 without size control
	SubgroupSizedStages, MaxSubgroups         uint32
	MaxAllocation                             uint64
}

// GetProperties reads them; driver and sizes say whether VK_KHR_driver_properties and
// VK_EXT_subgroup_size_control, or the versions that include them, are there.
func GetProperties(p vk.PhysicalDevice, driver, sizes bool) Properties {
	var c C.VxProperties
	if driver {
		c.haveDriver = 1
	}
	if sizes {
		c.haveSizes = 1
	}
	C.vx_properties(unsafe.Pointer(p), &c)
	return Properties{
		DriverName: C.GoString(&c.driverName[0]), DriverInfo: C.GoString(&c.driverInfo[0]),
		UUID:         *(*[16]byte)(unsafe.Pointer(&c.uuid)),
		SubgroupSize: uint32(c.subgroupSize), SubgroupStages: uint32(c.subgroupStages), SubgroupOps: uint32(c.subgroupOps),
		SubgroupMin: uint32(c.subgroupMin), SubgroupMax: uint32(c.subgroupMax), SubgroupSizedStages: uint32(c.subgroupStagesSized), MaxSubgroups: uint32(c.maxSubgroups),
		MaxAllocation: uint64(c.maxAllocation),
	}
}

// Flags are the VkBool32 members of one feature structure, in order.
type Flags [8]uint32

// CoreFeatures are the members of VkPhysicalDeviceFeatures, in order.
type CoreFeatures [55]uint32

// GetFeatures fills one Flags per structure type.
func GetFeatures(p vk.PhysicalDevice, types []uint32) ([]Flags, CoreFeatures) {
	flags := make([]Flags, len(types)+1)
	var core CoreFeatures
	C.vx_features(unsafe.Pointer(p), C.uint32_t(len(types)), words(types),
		(*C.uint32_t)(unsafe.Pointer(&flags[0])), (*C.uint32_t)(unsafe.Pointer(&core)))
	return flags[:len(types)], core
}

func words(x []uint32) *C.uint32_t { return (*C.uint32_t)(unsafe.Pointer(unsafe.SliceData(x))) }

// CoopMat is VkCooperativeMatrixPropertiesKHR, or VkCooperativeMatrixFlexibleDimensionsPropertiesNV, which ends with the
// invocations of the workgroup.
type CoopMat struct{ M, N, K, A, B, C, D, Saturating, Scope, Invocations uint32 }

// CoopMats lists the shapes of VK_KHR_cooperative_matrix.
func CoopMats(instance vk.Instance, p vk.PhysicalDevice) ([]CoopMat, vk.Result) {
	return coopMats(0, instance, p)
}

// CoopMatsFlexible lists the granularities of VK_NV_cooperative_matrix2.
func CoopMatsFlexible(instance vk.Instance, p vk.PhysicalDevice) ([]CoopMat, vk.Result) {
	return coopMats(1, instance, p)
}

func coopMats(flexible C.int, instance vk.Instance, p vk.PhysicalDevice) ([]CoopMat, vk.Result) {
	for {
		var n C.uint32_t
		r := vk.Result(C.vx_coopmat(flexible, unsafe.Pointer(instance), unsafe.Pointer(p), &n, nil))
		if r != vk.Success || n == 0 {
			return nil, r
		}
		out := make([]CoopMat, n)
		r = vk.Result(C.vx_coopmat(flexible, unsafe.Pointer(instance), unsafe.Pointer(p), &n, (*C.VxCoopMat)(unsafe.Pointer(&out[0]))))
		if r != vk.Incomplete {
			return out[:n], r
		}
	}
}

// CreateDevice is vkCreateDevice with one queue; flags[i] are the wanted members of structure types[i].
func CreateDevice(p vk.PhysicalDevice, family uint32, extensions []string, types []uint32, flags []Flags, core CoreFeatures) (vk.Device, vk.Result) {
	e, free := newStrings(extensions)
	defer free()
	var out unsafe.Pointer
	r := C.vx_create_device(unsafe.Pointer(p), C.uint32_t(family), C.uint32_t(len(extensions)), &e[0],
		C.uint32_t(len(types)), words(types), (*C.uint32_t)(unsafe.Pointer(unsafe.SliceData(flags))),
		(*C.uint32_t)(unsafe.Pointer(&core)), &out)
	return vk.Device(out), vk.Result(r)
}

// BufferUsageDeviceAddress is VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT.
const BufferUsageDeviceAddress = 0x20000

// Addressable is what VkMemoryAllocateInfo.pNext must point to for memory whose buffers have addresses.
func Addressable() unsafe.Pointer { return unsafe.Pointer(C.vx_addressable()) }

// Address is vkGetBufferDeviceAddress, or with extension vkGetBufferDeviceAddressKHR; 0 if the driver has no such function.
func Address(d vk.Device, b vk.Buffer, extension bool) uint64 {
	var e C.int
	if extension {
		e = 1
	}
	return uint64(C.vx_address(unsafe.Pointer(d), unsafe.Pointer(b), e))
}

// Subgroup is what a pipeline requires of its subgroups: a size, if not 0, and that all are full.
type Subgroup struct {
	Size uint32
	Full bool
}

// CreatePipeline is vkCreateComputePipelines for one shader with entry point main; constant ids[i] gets
// values[i]; flags are VkPipelineCreateFlagBits.
func CreatePipeline(d vk.Device, cache vk.PipelineCache, m vk.ShaderModule, l vk.PipelineLayout, ids, values []uint32, subgroup Subgroup, flags uint32) (vk.Pipeline, vk.Result) {
	var out unsafe.Pointer
	var full C.int
	if subgroup.Full {
		full = 1
	}
	r := C.vx_create_pipeline(unsafe.Pointer(d), unsafe.Pointer(cache), unsafe.Pointer(m), unsafe.Pointer(l),
		C.uint32_t(len(ids)), words(ids), words(values), C.uint32_t(subgroup.Size), full, C.uint32_t(flags), &out)
	return vk.Pipeline(out), vk.Result(r)
}

// CaptureStatistics is VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR.
const CaptureStatistics = 0x40

// Statistic is VkPipelineExecutableStatisticKHR.
type Statistic struct {
	Name  string
	Value float64
}

// HasClock reports whether Clock can read the clock of a device's timestamps
// (vkGetPhysicalDeviceCalibrateableTimeDomainsEXT).
func HasClock(instance vk.Instance, p vk.PhysicalDevice) (bool, vk.Result) {
	var domains [16]C.uint32_t // there are ten
	n := C.uint32_t(len(domains))
	r := vk.Result(C.vx_clock_domains(unsafe.Pointer(instance), unsafe.Pointer(p), &n, &domains[0]))
	if r != vk.Success && r != vk.Incomplete {
		return false, r
	}
	return slices.Contains(domains[:n], 0), vk.Success
}

// Clock is vkGetCalibratedTimestampsEXT of the device's own clock.
func Clock(instance vk.Instance, d vk.Device) (ticks uint64, r vk.Result) {
	var t C.uint64_t
	r = vk.Result(C.vx_clock(unsafe.Pointer(instance), unsafe.Pointer(d), &t))
	return uint64(t), r
}

// Executables is vkGetPipelineExecutablePropertiesKHR: the number of executables in a pipeline and the subgroup size of
// the first.
func Executables(instance vk.Instance, d vk.Device, p vk.Pipeline) (n int, subgroupSize uint32, r vk.Result) {
	var count, size C.uint32_t
	r = vk.Result(C.vx_executables(unsafe.Pointer(instance), unsafe.Pointer(d), unsafe.Pointer(p), &count, &size))
	return int(count), uint32(size), r
}

// Statistics is vkGetPipelineExecutableStatisticsKHR of a pipeline's first executable.
func Statistics(instance vk.Instance, d vk.Device, p vk.Pipeline) ([]Statistic, vk.Result) {
	for {
		var n C.uint32_t
		r := vk.Result(C.vx_statistics(unsafe.Pointer(instance), unsafe.Pointer(d), unsafe.Pointer(p), &n, nil))
		if r != vk.Success || n == 0 {
			return nil, r
		}
		list := make([]C.VxStatistic, n)
		r = vk.Result(C.vx_statistics(unsafe.Pointer(instance), unsafe.Pointer(d), unsafe.Pointer(p), &n, &list[0]))
		if r == vk.Incomplete {
			continue
		}
		var out []Statistic
		for _, s := range list[:n] {
			out = append(out, Statistic{C.GoString(&s.name[0]), statisticValue(uint32(s.format), uint64(s.bits))})
		}
		return out, r
	}
}

// statisticValue decodes VkPipelineExecutableStatisticValueKHR.
func statisticValue(format uint32, bits uint64) float64 {
	switch format {
	case 0: // BOOL32
		return float64(uint32(bits))
	case 1: // INT64
		return float64(int64(bits))
	case 2: // UINT64
		return float64(bits)
	default: // FLOAT64
		return math.Float64frombits(bits)
	}
}

// CreateSetLayout is vkCreateDescriptorSetLayout for n storage buffers of a compute shader.
func CreateSetLayout(d vk.Device, n uint32) (vk.DescriptorSetLayout, vk.Result) {
	var out unsafe.Pointer
	r := C.vx_create_set_layout(unsafe.Pointer(d), C.uint32_t(n), &out)
	return vk.DescriptorSetLayout(out), vk.Result(r)
}

// CreateLayout is vkCreatePipelineLayout for one set and a block of push bytes of push constants.
func CreateLayout(d vk.Device, set vk.DescriptorSetLayout, push uint32) (vk.PipelineLayout, vk.Result) {
	var out unsafe.Pointer
	r := C.vx_create_layout(unsafe.Pointer(d), unsafe.Pointer(set), C.uint32_t(push), &out)
	return vk.PipelineLayout(out), vk.Result(r)
}

// CreateDescriptorPool is vkCreateDescriptorPool for so many sets with so many storage buffers together.
func CreateDescriptorPool(d vk.Device, sets, buffers int) (vk.DescriptorPool, vk.Result) {
	var out unsafe.Pointer
	r := C.vx_create_descriptor_pool(unsafe.Pointer(d), C.uint32_t(sets), C.uint32_t(buffers), &out)
	return vk.DescriptorPool(out), vk.Result(r)
}

// AllocateSet is vkAllocateDescriptorSets of one set.
func AllocateSet(d vk.Device, pool vk.DescriptorPool, layout vk.DescriptorSetLayout) (vk.DescriptorSet, vk.Result) {
	var out unsafe.Pointer
	r := C.vx_allocate_set(unsafe.Pointer(d), unsafe.Pointer(pool), unsafe.Pointer(layout), &out)
	return vk.DescriptorSet(out), vk.Result(r)
}

// UpdateSet writes storage buffers into bindings 0 to len(buffers)-1 of a set.
func UpdateSet(d vk.Device, set vk.DescriptorSet, buffers []vk.Buffer, offsets, sizes []uint64) {
	C.vx_update_set(unsafe.Pointer(d), unsafe.Pointer(set), C.uint32_t(len(buffers)),
		(*unsafe.Pointer)(unsafe.Pointer(unsafe.SliceData(buffers))),
		(*C.uint64_t)(unsafe.Pointer(unsafe.SliceData(offsets))), (*C.uint64_t)(unsafe.Pointer(unsafe.SliceData(sizes))))
}

// Barrier is vkCmdPipelineBarrier with one global memory barrier.
func Barrier(c vk.CommandBuffer, srcStage, dstStage vk.PipelineStageFlagBits, srcAccess, dstAccess vk.AccessFlagBits) {
	C.vx_barrier(unsafe.Pointer(c), C.uint32_t(srcStage), C.uint32_t(dstStage), C.uint32_t(srcAccess), C.uint32_t(dstAccess))
}

// Copy is vkCmdCopyBuffer of one region.
func Copy(c vk.CommandBuffer, src vk.Buffer, srcOffset int64, dst vk.Buffer, dstOffset, size int64) {
	C.vx_copy(unsafe.Pointer(c), unsafe.Pointer(src), C.uint64_t(srcOffset), unsafe.Pointer(dst), C.uint64_t(dstOffset), C.uint64_t(size))
}

// Submit is vkQueueSubmit of one batch.
func Submit(q vk.Queue, c []vk.CommandBuffer, fence vk.Fence) vk.Result {
	return vk.Result(C.vx_submit(unsafe.Pointer(q), C.uint32_t(len(c)),
		(*unsafe.Pointer)(unsafe.Pointer(unsafe.SliceData(c))), unsafe.Pointer(fence)))
}

// WaitFence is vkWaitForFences; timeout in nanoseconds.
func WaitFence(d vk.Device, fence vk.Fence, timeout uint64) vk.Result {
	return vk.Result(C.vx_wait(unsafe.Pointer(d), unsafe.Pointer(fence), C.uint64_t(timeout)))
}

// ResetFence is vkResetFences.
func ResetFence(d vk.Device, fence vk.Fence) vk.Result {
	return vk.Result(C.vx_reset_fence(unsafe.Pointer(d), unsafe.Pointer(fence)))
}
