package vk_test

import (
	"context"
	_ "embed"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/vk"
)

//go:embed testdata/subgroup.spv
var subgroupSPIRV []byte

var subgroup = &vk.Shader{
	Name: "subgroup", SPIRV: subgroupSPIRV,
	Bindings: []vk.Binding{{Name: "Y", Access: vk.Write}},
	Spec:     []vk.SpecConst{{Name: "local_size_x", ID: 0, Default: 64}},
	Local:    [3]uint32{64, 1, 1}, LocalID: [3]int32{0, -1, -1},
	Needs: []string{"subgroup", "subgroupBallot"},
}

// Every size that the device lists can be required; calls of one shader that require different sizes, or none, are
// different pipelines.
func TestSubgroupSize(t *testing.T) {
	for _, validate := range []bool{false, true} {
		testSubgroupSize(t, open(t, &vk.Options{Validate: validate}))
	}
}

func testSubgroupSize(t *testing.T, d *vk.Device) {
	lim := d.Limits()
	require.NotZero(t, lim.SubgroupMin)
	rec := d.NewRecorder("subgroups")
	want := map[uint32]*vk.Buffer{}
	dispatch := func(size uint32) {
		local := max(64, size)
		y := newBuffer(t, d, "y", int64(4*local))
		want[size] = y
		for range 2 {
			rec.Dispatch(vk.Call{Shader: subgroup, Spec: []uint32{local}, Bind: []vk.Range{y.Range()}, Groups: [3]uint32{1, 1, 1}, SubgroupSize: size})
		}
	}
	dispatch(0)
	for size := lim.SubgroupMin; size <= lim.SubgroupMax; size *= 2 {
		dispatch(size)
	}
	p, err := rec.Build(context.Background(), nil)
	require.NoError(t, err)
	assert.Equal(t, len(want), vk.Pipelines(d), "one for each size")
	require.NoError(t, p.Run(context.Background()))
	for size, y := range want {
		for _, got := range downloadWords(t, y.Range()) {
			if size == 0 {
				assert.LessOrEqual(t, lim.SubgroupMin, got%1000)
				assert.GreaterOrEqual(t, lim.SubgroupMax, got%1000)
			} else {
				assert.Equal(t, size, got)
			}
		}
	}
}

// A size that the device has not, or that cannot be promised to the workgroup, is refused.
func TestSubgroupSizeRefused(t *testing.T) {
	d := open(t, nil)
	none := open(t, &vk.Options{Disable: []string{"subgroup"}})
	lim := d.Limits()
	for _, row := range []struct {
		name        string
		d           *vk.Device
		local, size uint32
		want        string
		unsupported bool
	}{
		{"no power of two", d, 24, 12, "subgroup size is 12 in a workgroup of 24x1x1", false},
		{"not a divisor", d, lim.SubgroupMin + 1, lim.SubgroupMin, "want a power of two that divides its first dimension", false},
		{"too small", d, 64, lim.SubgroupMin / 2, "the limits are", true},
		{"too large", d, 2 * lim.SubgroupMax, 2 * lim.SubgroupMax, "the limits are", true},
		{"hidden", none, 64, lim.SubgroupMin, "subgroups of", true},
	} {
		rec := row.d.NewRecorder("bad")
		y := row.d.DeclareBuffer("y", 1024)
		s := *subgroup
		s.Needs = nil // its own check is not what is tested
		rec.Dispatch(vk.Call{Shader: &s, Spec: []uint32{row.local}, Bind: []vk.Range{y.Range()}, Groups: [3]uint32{1, 1, 1}, SubgroupSize: row.size})
		assert.ErrorContains(t, rec.Err(), row.want, row.name)
		assert.Equal(t, row.unsupported, errors.As(rec.Err(), new(*vk.UnsupportedError)), row.name)
	}
}
