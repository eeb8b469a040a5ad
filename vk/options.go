package vk

import (
	"io"
	"log/slog"
)

// Options say which device to open and how. A nil *Options takes the defaults.
type Options struct {
	Device   string       // index, part of the name, or UUID; empty: VKEFFNET_DEVICE, then discrete, integrated, CPU
	Validate bool         // run under VK_LAYER_KHRONOS_validation; its messages become errors
	Lower    *Limits      // lowers the limits of the device; a zero field leaves its limit alone, none is raised
	Disable  []string     // features and extensions to hide: "shaderFloat16", "VK_KHR_cooperative_matrix", "subgroup", "unifiedMemory"
	CacheDir string       // of the pipeline cache; empty: os.UserCacheDir()/vkeffnet; "off": none
	Log      *slog.Logger // nil: silent
	Fault    *Fault       // for tests: lets a Vulkan call fail

	// CompileOnly also takes a device that has no memory and can run nothing, such as the one that RADV makes up under
	// RADV_FORCE_FAMILY. Programs cannot be built on it; Recorder.Statistics works.
	CompileOnly bool
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
	Bindings      uint32 // storage buffers of one shader
	MaxRange      int64  // bytes of one binding
	Heap          int64  // bytes of memory that the device's buffers may take together
	MaxAllocation int64  // bytes of one buffer
	SubgroupMin   uint32 // smallest and largest subgroup size; 0 if subgroup operations are hidden or missing
	SubgroupMax   uint32
}

// lower applies the set fields of by; offset alignment is lowered by making it coarser.
func (l *Limits) lower(by *Limits) {
	if by == nil {
		return
	}
	for _, f := range []struct{ have, want *uint32 }{
		{&l.Invocations, &by.Invocations}, {&l.SharedBytes, &by.SharedBytes}, {&l.MaxGroups, &by.MaxGroups},
		{&l.PushBytes, &by.PushBytes}, {&l.Bindings, &by.Bindings},
		{&l.SubgroupMin, &by.SubgroupMin}, {&l.SubgroupMax, &by.SubgroupMax},
	} {
		if *f.want != 0 {
			*f.have = min(*f.have, *f.want)
		}
	}
	for _, f := range []struct{ have, want *int64 }{
		{&l.MaxRange, &by.MaxRange}, {&l.Heap, &by.Heap}, {&l.MaxAllocation, &by.MaxAllocation},
	} {
		if *f.want != 0 {
			*f.have = min(*f.have, *f.want)
		}
	}
	l.OffsetAlign = max(l.OffsetAlign, by.OffsetAlign)
}

func (o *Options) orDefault() *Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return &c
}
