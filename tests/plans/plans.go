// Package plans records the steps of whole networks without running them, for tests that look at what a step consists of.
package plans

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// Step is a network's step for square images and 1000 classes.
type Step struct {
	Variant     string
	Batch, Size int
	Elem        kernels.Elem
	Mode        layers.Mode // Train: with loss, backward pass and RMSProp
	NoFuse      bool
}

// Record lists the step's calls on dev, which needs no memory for it, and returns the plan behind them.
func (s Step) Record(t *testing.T, dev *vk.Device) (*vk.Recorder, *effnetv2.Network) {
	t.Helper()
	v, err := effnetv2.ByName(s.Variant)
	require.NoError(t, err)
	m, err := effnetv2.New(dev, v, 1000)
	require.NoError(t, err)
	o := effnetv2.BuildOptions{Mode: s.Mode, Batch: s.Batch, H: s.Size, W: s.Size, Elem: s.Elem, NoFuse: s.NoFuse}
	if s.Mode == layers.Train {
		flat := func(name string, bytes int64) vk.Range { return dev.DeclareBuffer(name, bytes).Range() }
		o.Step, o.LossScale = flat("step", kernels.StepBytes), flat("loss scale", kernels.LossScaleBytes)
		o.Loss, o.Grads = true, flat("gradients", m.Params.Bytes())
		o.Slots = &layers.Slots{MeanSquare: flat("mean square", m.Params.Bytes()), Momentum: flat("momentum", m.Params.Bytes()),
			EMA: flat("average", m.Params.Bytes()), StatsEMA: flat("average of statistics", m.Running.Bytes())}
	}
	net, err := m.Build(o)
	require.NoError(t, err)
	rec, err := net.Record()
	require.NoError(t, err)
	return rec, net
}

// OpenAMD opens a device that Mesa's driver RADV makes up, "NAVI21" say, which compiles and runs nothing; VKEFFNET_TEST_RADV names another driver manifest than the system's. Mesa's own
// cache is off, so that the test leaves the user's alone.
func OpenAMD(t *testing.T, family string) *vk.Device {
	t.Helper()
	driver := os.Getenv("VKEFFNET_TEST_RADV")
	if driver == "" {
		found, err := filepath.Glob("/usr/share/vulkan/icd.d/radeon_icd*.json")
		require.NoError(t, err)
		require.NotEmpty(t, found, "RADV is not installed: apt-get install mesa-vulkan-drivers")
		driver = found[0]
	}
	for name, value := range map[string]string{"VK_ICD_FILENAMES": driver, "VK_DRIVER_FILES": driver, "RADV_FORCE_FAMILY": family,
		"MESA_SHADER_CACHE_DISABLE": "true"} {
		t.Setenv(name, value)
	}
	dev, err := vk.Open(&vk.Options{CacheDir: "off", CompileOnly: true, Device: family})
	require.NoError(t, err, "RADV_FORCE_FAMILY=%s: Mesa 26 took this switch out of RADV", family)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	return dev
}
