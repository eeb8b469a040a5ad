package vk

import (
	"slices"

	vulkan "github.com/vulkan-go/vulkan"

	"github.com/seed-8d806880/vkeffnet/vk/internal/raw"
)

// featureStructs are the structures whose members vk asks for and enables; a member's name is what
// Shader.Needs, Options.Disable and Device.Has call it. The name of the extension stands for at least one of its
// members, so that one which a driver lists and does not implement is not there.
var featureStructs = []struct {
	sType     uint32
	extension string
	since     uint32 // the Vulkan version that includes it, or 0
	header    uint32 // where since is 0: the version of Vulkan's headers that brought it
	members   []string
}{
	{1000083000, "VK_KHR_16bit_storage", api11, 0, []string{"storageBuffer16BitAccess", "uniformAndStorageBuffer16BitAccess"}},
	{1000177000, "VK_KHR_8bit_storage", api12, 0, []string{"storageBuffer8BitAccess", "uniformAndStorageBuffer8BitAccess"}},
	{1000082000, "VK_KHR_shader_float16_int8", api12, 0, []string{"shaderFloat16", "shaderInt8"}},
	{1000175000, "VK_KHR_shader_subgroup_extended_types", api12, 0, []string{"shaderSubgroupExtendedTypes"}},
	{1000211000, "VK_KHR_vulkan_memory_model", api12, 0, []string{"vulkanMemoryModel", "vulkanMemoryModelDeviceScope"}},
	{1000225002, "VK_EXT_subgroup_size_control", api13, 0, []string{"subgroupSizeControl", "computeFullSubgroups"}},
	{1000257000, "VK_KHR_buffer_device_address", api12, 0, []string{"bufferDeviceAddress"}},
	{1000280000, "VK_KHR_shader_integer_dot_product", api13, 0, []string{"shaderIntegerDotProduct"}},
	{1000269000, "VK_KHR_pipeline_executable_properties", 0, 0, []string{"pipelineExecutableInfo"}},
	{1000141000, "VK_KHR_shader_bfloat16", 0, api14 | 308, []string{"shaderBFloat16Type", "shaderBFloat16DotProduct", "shaderBFloat16CooperativeMatrix"}},
	{1000506000, "VK_KHR_cooperative_matrix", 0, api13 | 255, []string{"cooperativeMatrix"}},
	{1000593000, "VK_NV_cooperative_matrix2", 0, api13 | 300, []string{"cooperativeMatrixWorkgroupScope", "cooperativeMatrixFlexibleDimensions",
		"cooperativeMatrixReductions", "cooperativeMatrixConversions", "cooperativeMatrixPerElementOperations",
		"cooperativeMatrixTensorAddressing", "cooperativeMatrixBlockLoads"}},
}

// requires names what a feature builds upon, beyond the structure that it lies in: without it, it is not there either.
var requires = map[string]string{
	"shaderBFloat16CooperativeMatrix":       "cooperativeMatrix",
	"cooperativeMatrixWorkgroupScope":       "cooperativeMatrix",
	"cooperativeMatrixFlexibleDimensions":   "cooperativeMatrix",
	"cooperativeMatrixReductions":           "cooperativeMatrix",
	"cooperativeMatrixConversions":          "cooperativeMatrix",
	"cooperativeMatrixPerElementOperations": "cooperativeMatrix",
	"cooperativeMatrixTensorAddressing":     "cooperativeMatrix",
	"cooperativeMatrixBlockLoads":           "cooperativeMatrix",
	"uniformAndStorageBuffer16BitAccess":    "storageBuffer16BitAccess",
	"uniformAndStorageBuffer8BitAccess":     "storageBuffer8BitAccess",
	"vulkanMemoryModelDeviceScope":          "vulkanMemoryModel",
}

// clockExtension has no features; it is enabled where it is there.
const clockExtension = "VK_EXT_calibrated_timestamps"

// coreFeatures are places in VkPhysicalDeviceFeatures.
var coreFeatures = map[string]int{"shaderFloat64": 39, "shaderInt64": 40, "shaderInt16": 41}

// subgroupOps are the bits of VkSubgroupFeatureFlags.
var subgroupOps = []string{"subgroupBasic", "subgroupVote", "subgroupArithmetic", "subgroupBallot", "subgroupShuffle",
	"subgroupShuffleRelative", "subgroupClustered", "subgroupQuad"}

// features is what a device has and vk enables.
type features struct {
	names      map[string]bool
	extensions []string // to enable
	types      []uint32 // feature structures and their members to enable
	flags      []raw.Flags
	core       raw.CoreFeatures
}

func (f *features) has(name string) bool { return f.names[name] }

// queryFeatures finds the features to enable. A validation layer (its version, or 0 without) that is older than
// an extension would call its use an error, so that such an extension is hidden from it.
func queryFeatures(h vulkan.PhysicalDevice, api, layer uint32, extensions []string, p raw.Properties, disable []string) features {
	f := features{names: map[string]bool{}}
	hidden := func(name string) bool { return slices.Contains(disable, name) }
	var asked []int // of featureStructs
	for i, s := range featureStructs {
		present := slices.Contains(extensions, s.extension)
		if hidden(s.extension) || layer != 0 && layer < s.header || !present && (s.since == 0 || api < s.since) {
			continue
		}
		asked = append(asked, i)
	}
	types := make([]uint32, len(asked))
	for i, s := range asked {
		types[i] = featureStructs[s].sType
	}
	have, core := raw.GetFeatures(h, types)
	given := map[string]bool{}
	for i, s := range asked {
		for j, name := range featureStructs[s].members {
			given[name] = have[i][j] != 0 && !hidden(name)
		}
	}
	for _, s := range asked {
		s := featureStructs[s]
		var flags raw.Flags
		for j, name := range s.members {
			if on := requires[name]; given[name] && (on == "" || given[on]) {
				flags[j] = 1
				f.names[name] = true
			}
		}
		if flags == (raw.Flags{}) {
			continue
		}
		f.names[s.extension] = true
		f.types, f.flags = append(f.types, s.sType), append(f.flags, flags)
		if slices.Contains(extensions, s.extension) {
			f.extensions = append(f.extensions, s.extension)
		}
	}
	if slices.Contains(extensions, clockExtension) && !hidden(clockExtension) {
		f.names[clockExtension] = true
		f.extensions = append(f.extensions, clockExtension)
	}
	for name, i := range coreFeatures {
		if core[i] != 0 && !hidden(name) {
			f.core[i] = 1
			f.names[name] = true
		}
	}
	if p.SubgroupStages&uint32(vulkan.ShaderStageComputeBit) != 0 && !hidden("subgroup") {
		for bit, name := range subgroupOps {
			f.names[name] = p.SubgroupOps>>bit&1 != 0 && !hidden(name)
		}
		f.names["subgroup"] = f.names["subgroupBasic"]
	}
	if p.SubgroupSizedStages&uint32(vulkan.ShaderStageComputeBit) == 0 || !f.names["subgroup"] {
		delete(f.names, "subgroupSizeControl")
	}
	return f
}
