// Package amd compiles every kernel of whole networks with AMD's compiler and holds the machine code to what a GPU needs.
// No GPU is needed: RADV, Mesa's driver, makes one up under RADV_FORCE_FAMILY that compiles and runs nothing.
package amd

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/tests/plans"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// steps are those whose kernels are compiled, each in training and in inference.
var steps = []plans.Step{
	{Variant: "nano", Batch: 8, Size: 32}, {Variant: "b0", Batch: 8, Size: 192}, {Variant: "s", Batch: 32, Size: 300},
	{Variant: "b0", Batch: 64, Size: 192, Elem: kernels.F16}, {Variant: "s", Batch: 128, Size: 300, Elem: kernels.F16},
	{Variant: "b0", Batch: 64, Size: 192, Elem: kernels.BF16},
}

// A register that does not fit goes to memory (a spill; RADV counts spilled scalars even where a vector register takes
// them), and so does an array that is indexed by a variable (scratch). Either costs a kernel its speed without any test
// of its numbers noticing.
var forbidden = []string{"Spilled SGPRs", "Spilled VGPRs", "Scratch size"}

// families are GCN 5, which has subgroups of 64, and RDNA 2, 3 and 4, which have subgroups of 32 and 64; with the major version
// of Mesa that can make each of them up.
var families = []struct {
	name string
	mesa int
}{{"VEGA10", 22}, {"NAVI21", 22}, {"NAVI31", 25}, {"GFX1200", 25}}

// The system's Mesa decides which families there are; VKEFFNET_TEST_RADV names the manifest of another one.
func TestNoSpills(t *testing.T) {
	var mesa int
	version := plans.OpenAMD(t, families[0].name).Info().DriverVersion
	_, err := fmt.Sscanf(version, "Mesa %d", &mesa)
	require.NoError(t, err, "the driver's version is %q, want Mesa's", version)
	for _, family := range families {
		if mesa < family.mesa {
			t.Logf("%s needs Mesa %d and this is %s; name a newer manifest: VKEFFNET_TEST_RADV=/path/to/radeon_icd.json make amd", family.name, family.mesa, version)
			continue
		}
		t.Run(family.name, func(t *testing.T) {
			dev := plans.OpenAMD(t, family.name)
			all := map[string]vk.PipelineStatistics{} // by shader and constants
			for _, p := range steps {
				for _, mode := range []layers.Mode{layers.Train, layers.Infer} {
					p.Mode = mode
					rec, _ := p.Record(t, dev)
					found, err := rec.Statistics(context.Background())
					require.NoError(t, err)
					for _, s := range found {
						key := fmt.Sprint(s.Shader, s.Spec)
						if old, ok := all[key]; ok {
							s.Calls += old.Calls
						}
						all[key] = s
					}
				}
			}
			list := slices.SortedFunc(maps.Values(all), func(a, b vk.PipelineStatistics) int {
				return cmp.Or(cmp.Compare(a.Shader, b.Shader), slices.Compare(a.Spec, b.Spec))
			})
			t.Logf("%s\n%s", dev.Info().Name, table(t, list))
			for _, s := range list {
				for _, name := range forbidden {
					if v := value(t, s, name); v != 0 {
						t.Errorf("%s %v (%s): %s is %g, want 0", s.Shader, s.Spec, s.Label, name, v)
					}
				}
			}
		})
	}
}

// An array that is indexed by a variable lies in scratch memory, and the statistics say so: this is what a pass of
// TestNoSpills rests on. The device runs nothing and says that too.
func TestScratchIsSeen(t *testing.T) {
	dev := plans.OpenAMD(t, "NAVI21")
	dir := t.TempDir()
	source, out := filepath.Join(dir, "scratch.comp"), filepath.Join(dir, "scratch.spv")
	require.NoError(t, os.WriteFile(source, []byte(`#version 450
layout(local_size_x = 64) in;
layout(std430, binding = 0) buffer B { uint x[]; };
void main() {
	uint a[256];
	for (uint i = 0; i < 256; i++) a[x[i] & 255u] = i;
	for (uint i = 0; i < 256; i++) x[i] = a[x[i] & 255u];
}`), 0o644))
	text, err := exec.Command("glslangValidator", "-V", "--target-env", "vulkan1.1", "-o", out, source).CombinedOutput()
	require.NoError(t, err, "%s", text)
	spirv, err := os.ReadFile(out)
	require.NoError(t, err)
	shader := &vk.Shader{Name: "scratch", SPIRV: spirv, Bindings: []vk.Binding{{Name: "B", Access: vk.Read | vk.Write}},
		Local: [3]uint32{64, 1, 1}, LocalID: [3]int32{-1, -1, -1}}
	rec := dev.NewRecorder("scratch")
	for range 2 {
		rec.Dispatch(vk.Call{Shader: shader, Bind: []vk.Range{dev.DeclareBuffer("x", 1024).Range()}, Groups: [3]uint32{1, 1, 1}, Label: "once"})
	}
	list, err := rec.Statistics(context.Background())
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, "scratch", list[0].Shader)
	assert.Equal(t, "once", list[0].Label)
	assert.Equal(t, 2, list[0].Calls)
	assert.Contains(t, []uint32{32, 64}, list[0].SubgroupSize)
	assert.GreaterOrEqual(t, value(t, list[0], "Scratch size"), 1024.)

	_, err = rec.Build(context.Background(), nil)
	assert.ErrorContains(t, err, "has no memory")
	_, err = vk.Open(&vk.Options{CacheDir: "off", Device: "NAVI21"})
	assert.ErrorIs(t, err, vk.ErrNoDevice)
	hidden, err := vk.Open(&vk.Options{CacheDir: "off", CompileOnly: true, Disable: []string{"pipelineExecutableInfo"}})
	require.NoError(t, err)
	defer hidden.Close()
	var unsupported *vk.UnsupportedError
	_, err = hidden.NewRecorder("none").Statistics(context.Background())
	assert.ErrorAs(t, err, &unsupported)
}

// value is a statistic that RADV must give.
func value(t *testing.T, s vk.PipelineStatistics, name string) float64 {
	t.Helper()
	v, ok := s.Values[name]
	require.True(t, ok, "%s has no statistic %q, only %v", s.Shader, name, slices.Sorted(maps.Keys(s.Values)))
	return v
}

// table has a row for each shader with the least and the most of its pipelines.
func table(t *testing.T, list []vk.PipelineStatistics) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	columns := []string{"VGPRs", "SGPRs", "Spilled VGPRs", "Spilled SGPRs", "Scratch size", "LDS size", "Subgroups per SIMD", "Code size",
		"Latency", "Inverse Throughput"}
	fmt.Fprintln(w, "kernel\tpipelines\tcalls\twave\tVGPRs\tSGPRs\tspilled V\tspilled S\tscratch B\tLDS B\twaves/SIMD\tcode B\tlatency\tinv. throughput\t")
	for len(list) > 0 {
		n := slices.IndexFunc(list, func(s vk.PipelineStatistics) bool { return s.Shader != list[0].Shader })
		if n < 0 {
			n = len(list)
		}
		same := list[:n]
		list = list[n:]
		calls := 0
		for _, s := range same {
			calls += s.Calls
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t", same[0].Shader, n, calls)
		span := func(f func(s vk.PipelineStatistics) float64) {
			lo, hi := f(same[0]), f(same[0])
			for _, s := range same {
				lo, hi = min(lo, f(s)), max(hi, f(s))
			}
			if lo == hi {
				fmt.Fprintf(w, "%g\t", lo)
			} else {
				fmt.Fprintf(w, "%g..%g\t", lo, hi)
			}
		}
		span(func(s vk.PipelineStatistics) float64 { return float64(s.SubgroupSize) })
		for _, name := range columns {
			span(func(s vk.PipelineStatistics) float64 { return value(t, s, name) })
		}
		fmt.Fprintln(w)
	}
	require.NoError(t, w.Flush())
	return text.String()
}
