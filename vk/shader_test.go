package vk_test

import (
	_ "embed"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/vk"
)

//go:embed testdata/saxpy.spv
var saxpySPIRV []byte

//go:embed testdata/spin.spv
var spinSPIRV []byte

var saxpy = &vk.Shader{
	Name: "saxpy", SPIRV: saxpySPIRV,
	Bindings: []vk.Binding{{Name: "X", Access: vk.Read}, {Name: "Y", Access: vk.Read | vk.Write}},
	Push:     8,
	Spec:     []vk.SpecConst{{Name: "local_size_x", ID: 0, Default: 64}, {Name: "NEGATE", ID: 1}},
	Local:    [3]uint32{64, 1, 1}, LocalID: [3]int32{0, -1, -1},
}

var spin = &vk.Shader{
	Name: "spin", SPIRV: spinSPIRV,
	Bindings: []vk.Binding{{Name: "Y", Access: vk.Read | vk.Write}},
	Push:     8, Local: [3]uint32{64, 1, 1}, LocalID: [3]int32{-1, -1, -1},
}

// callSaxpy is y = a*x + y over the floats of x.
func callSaxpy(a float32, x, y vk.Range) vk.Call {
	n := uint32(x.Size / 4)
	push := binary.LittleEndian.AppendUint32(nil, n)
	push = binary.LittleEndian.AppendUint32(push, math.Float32bits(a))
	return vk.Call{Shader: saxpy, Push: push, Bind: []vk.Range{x, y}, Groups: [3]uint32{(n + 63) / 64, 1, 1}, FLOPs: 2 * int64(n)}
}

// callSpin adds 1 to every word of y.
func callSpin(rounds uint32, y vk.Range) vk.Call {
	n := uint32(y.Size / 4)
	push := binary.LittleEndian.AppendUint32(nil, n)
	push = binary.LittleEndian.AppendUint32(push, rounds)
	return vk.Call{Shader: spin, Push: push, Bind: []vk.Range{y}, Groups: [3]uint32{(n + 63) / 64, 1, 1}}
}

// open opens a device that must leave nothing behind.
func open(t *testing.T, o *vk.Options) *vk.Device {
	t.Helper()
	if o == nil {
		o = &vk.Options{}
	}
	if o.CacheDir == "" {
		o.CacheDir = "off"
	}
	d, err := vk.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.Close()) })
	return d
}

func newBuffer(t *testing.T, d *vk.Device, name string, size int64) *vk.Buffer {
	t.Helper()
	b, err := d.NewBuffer(name, size, vk.DeviceMemory)
	require.NoError(t, err)
	return b
}

func floats(x ...float32) []byte {
	var b []byte
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func repeat(x float32, n int) []byte {
	v := make([]float32, n)
	for i := range v {
		v[i] = x
	}
	return floats(v...)
}

func downloadFloats(t *testing.T, r vk.Range) []float32 {
	t.Helper()
	b := make([]byte, r.Size)
	require.NoError(t, r.Buf.Device().Download(r, b))
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

// The committed SPIR-V is what glslang makes of the sources beside it.
func TestTestdataIsCurrent(t *testing.T) {
	sources, err := filepath.Glob("testdata/*.comp")
	require.NoError(t, err)
	for _, src := range sources {
		stem := src[:len(src)-len(".comp")]
		out := filepath.Join(t.TempDir(), "out.spv")
		log, err := exec.Command("glslangValidator", "-V", "--target-env", "vulkan1.1", "-o", out, src).CombinedOutput()
		require.NoError(t, err, "%s", log)
		got, err := os.ReadFile(out)
		require.NoError(t, err)
		want, err := os.ReadFile(stem + ".spv")
		require.NoError(t, err)
		// Words 2 and 4 name the compiler's version and the bound.
		assert.Equal(t, want[12:], got[12:], "%s.spv is stale: glslangValidator -V --target-env vulkan1.1 -o %s.spv %s", stem, stem, src)
	}
}
