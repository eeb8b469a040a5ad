package vk

import "log/slog"

// Options say which device to open and how. A nil *Options takes the defaults.
type Options struct {
	Device   string       // index, part of the name, or UUID; empty: VKEFFNET_DEVICE, then discrete, integrated, CPU
	Validate bool         // run under VK_LAYER_KHRONOS_validation; its messages become errors
	Lower    *Limits      // lowers the limits of the device; a zero field leaves its limit alone, none is raised
	Disable  []string     // features and extensions to hide: "shaderFloat16", "VK_KHR_cooperative_matrix", "subgroup"
	CacheDir string       // of the pipeline cache; empty: os.UserCacheDir()/vkeffnet; "off": none
	Log      *slog.Logger // nil: silent
	Fault    *Fault       // for tests: lets a Vulkan call fail
}

// Fault makes the Nth result of a Vulkan call (from 1) become Code. For tests.
type Fault struct {
	Nth  int64
	Code Result
}

// Limits are what kernels must respect on a device.
type Limits struct {
	Invocations   uint32 // per workgroup
	SharedBytes   uint32 // of shared memory per workgroup
	OffsetAlign   uint32 // of a binding's offset, bytes
	MaxGroups     uint32 // workgroups per dimension
	PushBytes     uint32 // of a push-constant block
	MaxRange      int64  // bytes of one binding
	Heap          int64  // bytes that may be allocated in the largest device-local heap
	MaxAllocation int64  // bytes of one allocation of memory
	SubgroupMin   uint32 // smallest and largest subgroup size; 0 if subgroup operations are hidden or missing
	SubgroupMax   uint32
}

// CoopMat is one shape of VK_KHR_cooperative_matrix at subgroup scope: D[M N] = A[M K] B[K N] + C[M N].
type CoopMat struct {
	M, N, K    uint32
	A, B, C, D string // component types: "f16", "bf16", "f32", "s8", "u8", "s32", "u32"
}

// Info describes a device.
type Info struct {
	Index         int
	Name          string
	Vendor        string
	Driver        string // name and version, as VK_KHR_driver_properties gives them
	DriverVersion string
	Type          string // "discrete", "integrated", "virtual", "cpu", "other"
	MemoryBytes   int64  // of the device-local heaps
	UUID          string
	API           string // Vulkan version, "1.3.230"
	SubgroupMin   uint32
	SubgroupMax   uint32
	F16           bool // arithmetic and storage of float16
	BF16          bool
	CoopMat       []CoopMat
	Chosen        bool   // Open with the same options would take it
	Refused       string // why it cannot be used; empty if it can
}
