package vk

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	vulkan "github.com/vulkan-go/vulkan"

	"github.com/seed-8d806880/vkeffnet/vk/internal/raw"
)

// CoopMat is one shape of VK_KHR_cooperative_matrix: D[M N] = A[M K] B[K N] + C[M N], without saturation, by the
// invocations of a subgroup.
type CoopMat struct {
	M     uint32 `json:"m"`
	N     uint32 `json:"n"`
	K     uint32 `json:"k"`
	A     string `json:"a"` // component types: "f16", "bf16", "f32", "s8", "u8", "s32", "u32"
	B     string `json:"b"`
	C     string `json:"c"`
	D     string `json:"d"`
	Scope string `json:"scope"` // "subgroup"; "workgroup" in Info.CoopMatFlexible only

	// Invocations of the workgroup, in Info.CoopMatFlexible at workgroup scope; else 0.
	Invocations uint32 `json:"invocations,omitempty"`
}

// Info describes a device; the names in JSON are those of `vkeffnet devices --json`.
type Info struct {
	Index         int       `json:"index"`
	Name          string    `json:"name"`
	Vendor        string    `json:"vendor"`
	Driver        string    `json:"driver"`         // name
	DriverVersion string    `json:"driver_version"` // as the driver words it
	Type          string    `json:"type"`           // "discrete", "integrated", "virtual", "cpu" or "other"
	MemoryBytes   int64     `json:"memory_bytes"`   // of the largest device-local heap
	UUID          string    `json:"uuid"`
	API           string    `json:"api"` // Vulkan version
	SubgroupMin   uint32    `json:"subgroup_min"`
	SubgroupMax   uint32    `json:"subgroup_max"`
	F16           bool      `json:"f16"` // float16 in arithmetic and in storage buffers
	BF16          bool      `json:"bf16"`
	CoopMat       []CoopMat `json:"coopmat"`

	// CoopMatFlexible are the shapes of VK_NV_cooperative_matrix2: M, N and K of a matrix may be any multiples of those here.
	CoopMatFlexible []CoopMat `json:"coopmat_flexible"`

	Chosen  bool   `json:"chosen"`  // Open with these options takes it
	Refused string `json:"refused"` // why it cannot be used; empty if it can
}

// Devices lists the devices of all drivers, in the loader's order. Without a loader the error unwraps to
// ErrNoLoader, without a device to ErrNoDevice.
func Devices(o *Options) ([]Info, error) {
	o = o.orDefault()
	in, err := openInstance(o)
	if err != nil {
		return nil, err
	}
	found, err := in.probeAll(o)
	err = errors.Join(err, in.close())
	if err != nil {
		return nil, err
	}
	if order, err := choose(found, o.Device); err == nil {
		order[0].info.Chosen = true
	}
	infos := make([]Info, len(found))
	for i, p := range found {
		infos[i] = p.info
	}
	return infos, nil
}

// physical is a device that was looked at.
type physical struct {
	handle        vulkan.PhysicalDevice
	info          Info
	limits        Limits
	features      features
	extensions    []string
	memory        []memoryType
	heaps         []int64
	family        uint32 // queue family
	spirvMinor    uint32 // SPIR-V 1.spirvMinor is the newest that it takes
	maxSubgroups  uint32 // in a workgroup whose subgroup size is required; 0: no limit known
	timestampMask uint64 // 0: no timestamps
	timestampNS   float64
	vendorID      uint32
	deviceID      uint32
	driverVersion uint32
	cacheUUID     [16]byte
}

type memoryType struct {
	flags vulkan.MemoryPropertyFlagBits
	heap  uint32
}

// probeAll looks at every device; there is at least one.
func (in *instance) probeAll(o *Options) ([]*physical, error) {
	handles, err := in.physicalDevices()
	if err != nil {
		return nil, err
	}
	if len(handles) == 0 {
		return nil, fmt.Errorf("vk: %w; %s", ErrNoDevice, install)
	}
	var out []*physical
	for i, h := range handles {
		p, err := in.probe(h, o)
		if err != nil {
			return nil, err
		}
		p.info.Index = i
		out = append(out, p)
	}
	return out, nil
}

func (in *instance) probe(h vulkan.PhysicalDevice, o *Options) (*physical, error) {
	p := &physical{handle: h}
	var core vulkan.PhysicalDeviceProperties
	vulkan.GetPhysicalDeviceProperties(h, &core)
	core.Deref()
	core.Limits.Deref()
	lim := core.Limits
	defer core.Free()
	p.info.Name = vulkan.ToString(core.DeviceName[:])
	p.info.Vendor = vendorName(core.VendorID)
	p.info.Type = typeName(core.DeviceType)
	p.info.API = vulkan.Version(core.ApiVersion).String()
	p.vendorID, p.deviceID, p.driverVersion, p.cacheUUID = core.VendorID, core.DeviceID, core.DriverVersion, core.PipelineCacheUUID
	if core.ApiVersion < api11 {
		p.info.Refused = "has Vulkan " + p.info.API + ", want 1.1 or newer"
		return p, nil
	}
	err := in.do("vkEnumerateDeviceExtensionProperties", func() (r vulkan.Result) { p.extensions, r = raw.DeviceExtensions(h); return })
	if err != nil {
		return nil, err
	}
	p.extensions = slices.DeleteFunc(p.extensions, func(x string) bool { return slices.Contains(o.Disable, x) })
	api := min(core.ApiVersion, in.api)
	switch { // https://registry.khronos.org/vulkan/specs/1.3/html/vkspec.html#spirvenv
	case api >= api13:
		p.spirvMinor = 6
	case api >= api12:
		p.spirvMinor = 5
	default:
		p.spirvMinor = 3
	}
	has := func(ext string, since uint32) bool {
		return since != 0 && api >= since || slices.Contains(p.extensions, ext)
	}
	more := raw.GetProperties(h, has("VK_KHR_driver_properties", api12), has("VK_EXT_subgroup_size_control", api13))
	p.info.UUID = formatUUID(more.UUID)
	p.info.Driver, p.info.DriverVersion = more.DriverName, more.DriverInfo
	if p.info.Driver == "" {
		p.info.Driver = p.info.Vendor
	}
	if p.info.DriverVersion == "" {
		p.info.DriverVersion = vulkan.Version(core.DriverVersion).String()
	}
	p.features = queryFeatures(h, api, in.layer, p.extensions, more, o.Disable)

	p.probeMemory()
	p.limits = Limits{
		Invocations: lim.MaxComputeWorkGroupInvocations, SharedBytes: lim.MaxComputeSharedMemorySize,
		OffsetAlign: max(4, uint32(lim.MinStorageBufferOffsetAlignment)),
		MaxGroups:   min(lim.MaxComputeWorkGroupCount[0], lim.MaxComputeWorkGroupCount[1], lim.MaxComputeWorkGroupCount[2], 65535),
		PushBytes:   min(lim.MaxPushConstantsSize, 128), Bindings: min(lim.MaxPerStageDescriptorStorageBuffers, lim.MaxDescriptorSetStorageBuffers),
		MaxRange: int64(lim.MaxStorageBufferRange), Heap: p.info.MemoryBytes, MaxAllocation: int64(min(more.MaxAllocation, 1<<62)),
	}
	if p.features.has("subgroup") {
		p.limits.SubgroupMin, p.limits.SubgroupMax = more.SubgroupSize, more.SubgroupSize
		if p.features.has("subgroupSizeControl") {
			p.limits.SubgroupMin, p.limits.SubgroupMax, p.maxSubgroups = more.SubgroupMin, more.SubgroupMax, more.MaxSubgroups
		}
	}
	if p.limits.MaxAllocation == 0 {
		p.limits.MaxAllocation = p.limits.Heap
	}
	p.limits.lower(o.Lower)
	p.info.SubgroupMin, p.info.SubgroupMax = p.limits.SubgroupMin, p.limits.SubgroupMax
	p.info.F16 = p.features.has("shaderFloat16") && p.features.has("storageBuffer16BitAccess")
	p.info.BF16 = p.features.has("shaderBFloat16Type") && p.features.has("storageBuffer16BitAccess")
	if p.features.has("cooperativeMatrix") {
		if p.info.CoopMat, err = in.coopMats("vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR", h, raw.CoopMats); err != nil {
			return nil, err
		}
	}
	if p.features.has("cooperativeMatrixFlexibleDimensions") {
		p.info.CoopMatFlexible, err = in.coopMats("vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV", h, raw.CoopMatsFlexible)
		if err != nil {
			return nil, err
		}
	}
	p.info.CoopMat = append([]CoopMat{}, p.info.CoopMat...) // never null in JSON
	p.info.CoopMatFlexible = append([]CoopMat{}, p.info.CoopMatFlexible...)

	p.timestampNS = float64(lim.TimestampPeriod)
	p.info.Refused = p.refuse(o.CompileOnly)
	return p, nil
}

// refuse chooses the queue family and says why the device cannot be used, to run programs or to compile only.
func (p *physical) refuse(compileOnly bool) string {
	families := raw.QueueFamilies(p.handle)
	// A family that computes and does not draw is often a separate hardware queue, but it gains nothing for one
	// stream of work and has no timestamps on some drivers; the first that computes is the best served.
	i := slices.IndexFunc(families, func(f raw.QueueFamily) bool {
		return f.Flags&uint32(vulkan.QueueComputeBit) != 0 && f.Count > 0
	})
	if i < 0 {
		return "has no queue that computes"
	}
	p.family = uint32(i)
	if b := families[i].TimestampBits; b > 0 {
		p.timestampMask = ^uint64(0) >> (64 - b)
	}
	if _, ok := p.memoryFor(UploadMemory, true, ^uint32(0)); !ok && !compileOnly {
		return "has no memory that is coherent with the host"
	}
	return ""
}

func (p *physical) probeMemory() {
	var m vulkan.PhysicalDeviceMemoryProperties
	vulkan.GetPhysicalDeviceMemoryProperties(p.handle, &m)
	m.Deref()
	defer m.Free()
	for i := range m.MemoryTypeCount {
		t := m.MemoryTypes[i]
		t.Deref()
		p.memory = append(p.memory, memoryType{vulkan.MemoryPropertyFlagBits(t.PropertyFlags), t.HeapIndex})
	}
	for i := range m.MemoryHeapCount {
		h := m.MemoryHeaps[i]
		h.Deref()
		p.heaps = append(p.heaps, int64(h.Size))
		if vulkan.MemoryHeapFlagBits(h.Flags)&vulkan.MemoryHeapDeviceLocalBit != 0 {
			p.info.MemoryBytes = max(p.info.MemoryBytes, int64(h.Size))
		}
	}
}

// Values of VkComponentTypeKHR.
var componentNames = map[uint32]string{0: "f16", 1: "f32", 2: "f64", 3: "s8", 4: "s16", 5: "s32", 6: "s64", 7: "u8", 8: "u16",
	9: "u32", 10: "u64", 1000141000: "bf16", 1000491002: "e4m3", 1000491003: "e5m2"}

// subgroupScope is VK_SCOPE_SUBGROUP_KHR.
const subgroupScope = 3

// Values of VkScopeKHR.
var scopeNames = map[uint32]string{2: "workgroup", subgroupScope: "subgroup"}

func (in *instance) coopMats(call string, h vulkan.PhysicalDevice, get func(vulkan.Instance, vulkan.PhysicalDevice) ([]raw.CoopMat, vulkan.Result)) (out []CoopMat, err error) {
	var list []raw.CoopMat
	err = in.do(call, func() (r vulkan.Result) { list, r = get(in.handle, h); return })
	name := func(t uint32) string { return cmp.Or(componentNames[t], fmt.Sprintf("type %d", t)) }
	for _, c := range list {
		if c.Saturating == 0 && (c.Scope == subgroupScope || c.Invocations != 0) {
			scope := cmp.Or(scopeNames[c.Scope], fmt.Sprintf("scope %d", c.Scope))
			out = append(out, CoopMat{c.M, c.N, c.K, name(c.A), name(c.B), name(c.C), name(c.D), scope, c.Invocations})
		}
	}
	return out, err
}

// choose orders the devices that can be used, the one to take first. want is an index, a part of the name
// (case does not matter) or a UUID; empty takes VKEFFNET_DEVICE, and if that is empty too, every device.
func choose(found []*physical, want string) ([]*physical, error) {
	if want == "" {
		want = os.Getenv("VKEFFNET_DEVICE")
	}
	matches := found
	if want != "" {
		matches = nil
		if i, err := strconv.Atoi(want); err == nil {
			if i >= 0 && i < len(found) {
				matches = found[i : i+1]
			}
		} else {
			for _, p := range found {
				if strings.EqualFold(p.info.UUID, want) || strings.Contains(strings.ToLower(p.info.Name), strings.ToLower(want)) {
					matches = append(matches, p)
				}
			}
		}
		if len(matches) == 0 {
			return nil, fmt.Errorf("vk: %w matches %q; there are: %s", ErrNoDevice, want, list(found))
		}
	}
	usable := slices.DeleteFunc(slices.Clone(matches), func(p *physical) bool { return p.info.Refused != "" })
	if len(usable) == 0 {
		return nil, fmt.Errorf("vk: %w can be used: %s", ErrNoDevice, list(matches))
	}
	order := []string{"discrete", "integrated", "virtual", "cpu", "other"}
	slices.SortStableFunc(usable, func(a, b *physical) int {
		return cmp.Compare(slices.Index(order, a.info.Type), slices.Index(order, b.info.Type))
	})
	return usable, nil
}

func list(found []*physical) string {
	var s []string
	for _, p := range found {
		t := fmt.Sprintf("%d: %s", p.info.Index, p.info.Name)
		if p.info.Refused != "" {
			t += " (" + p.info.Refused + ")"
		}
		s = append(s, t)
	}
	return strings.Join(s, "; ")
}

func typeName(t vulkan.PhysicalDeviceType) string {
	switch t {
	case vulkan.PhysicalDeviceTypeDiscreteGpu:
		return "discrete"
	case vulkan.PhysicalDeviceTypeIntegratedGpu:
		return "integrated"
	case vulkan.PhysicalDeviceTypeVirtualGpu:
		return "virtual"
	case vulkan.PhysicalDeviceTypeCpu:
		return "cpu"
	}
	return "other"
}

// vendorName names a PCI vendor or a VkVendorId.
func vendorName(id uint32) string {
	names := map[uint32]string{0x1002: "AMD", 0x10de: "NVIDIA", 0x8086: "Intel", 0x13b5: "ARM", 0x5143: "Qualcomm",
		0x1010: "Imagination", 0x106b: "Apple", 0x1ae0: "Google", 0x14e4: "Broadcom", 0x10005: "Mesa"}
	return cmp.Or(names[id], fmt.Sprintf("0x%x", id))
}

func formatUUID(u [16]byte) string {
	h := hex.EncodeToString(u[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}
