package vk_test

import (
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/vk"
)

//go:embed testdata/half.spv
var halfSPIRV []byte

var half = &vk.Shader{
	Name: "half", SPIRV: halfSPIRV,
	Bindings: []vk.Binding{{Name: "X", Access: vk.Read}, {Name: "Y", Access: vk.Write}},
	Local:    [3]uint32{64, 1, 1}, LocalID: [3]int32{-1, -1, -1},
	Needs: []string{"shaderFloat16", "storageBuffer16BitAccess"},
}

// What Has reports is enabled: a shader that needs it runs, and the validation layer has nothing to say. What it does
// not report, or what is hidden, is refused by name.
func TestSixteenBitFloats(t *testing.T) {
	for _, o := range []vk.Options{{}, {Validate: true}, {Disable: []string{"shaderFloat16"}}, {Disable: []string{"storageBuffer16BitAccess"}},
		{Disable: []string{"VK_KHR_16bit_storage"}}, {Disable: []string{"VK_KHR_shader_float16_int8"}}} {
		d := open(t, &o)
		x, y := newBuffer(t, d, "x", 128), newBuffer(t, d, "y", 128)
		rec := d.NewRecorder("half")
		rec.Dispatch(vk.Call{Shader: half, Bind: []vk.Range{x.Range(), y.Range()}, Groups: [3]uint32{1, 1, 1}})
		assert.Equal(t, d.Has("shaderFloat16") && d.Has("storageBuffer16BitAccess"), d.Info().F16)
		if !d.Info().F16 {
			var lacks *vk.UnsupportedError
			require.ErrorAs(t, rec.Err(), &lacks)
			assert.Contains(t, half.Needs, lacks.Needs)
			assert.False(t, d.Has(lacks.Needs))
			continue
		}
		assert.Empty(t, o.Disable, "hidden and there all the same")
		in := make([]byte, 128)
		for i := range 64 {
			binary.LittleEndian.PutUint16(in[2*i:], uint16(i)<<10|0x155) // (1 + 341/1024) * 2^(i-15), and the same negated
		}
		require.NoError(t, d.Upload(x.Range(), in))
		p, err := rec.Build(context.Background(), nil)
		require.NoError(t, err)
		require.NoError(t, p.Run(context.Background()))
		out := make([]byte, 128)
		require.NoError(t, d.Download(y.Range(), out))
		for i, want := range map[int]uint16{15: 0x4355, 16: 0x4655, 14: 0x40aa, 47: 0xbeaa} { // 3.666, 6.332, 2.333 (to even or to zero), -1.666
			assert.Equal(t, want, binary.LittleEndian.Uint16(out[2*i:]), "y[%d]", i)
		}
	}
}

// Hiding cooperative matrices hides all that builds upon them.
func TestCooperativeMatricesHide(t *testing.T) {
	for _, hide := range []string{"VK_KHR_cooperative_matrix", "cooperativeMatrix"} {
		d := open(t, &vk.Options{Disable: []string{hide}})
		for _, name := range []string{"VK_KHR_cooperative_matrix", "cooperativeMatrix", "VK_NV_cooperative_matrix2",
			"cooperativeMatrixWorkgroupScope", "cooperativeMatrixPerElementOperations", "shaderBFloat16CooperativeMatrix"} {
			assert.False(t, d.Has(name), "%s without %s", name, hide)
		}
		assert.Empty(t, d.Info().CoopMat)
		assert.Empty(t, d.Info().CoopMatFlexible)
	}
	d := open(t, nil)
	assert.Equal(t, d.Has("VK_KHR_cooperative_matrix"), len(d.Info().CoopMat) > 0, "whoever has them lists shapes")
	for _, c := range d.Info().CoopMat {
		assert.Equal(t, "subgroup", c.Scope)
		assert.True(t, c.M > 0 && c.N > 0 && c.K > 0, c)
	}
	x := d.DeclareBuffer("x", 128)
	rec := d.NewRecorder("matrices")
	s := *saxpy
	s.Needs = []string{"VK_KHR_cooperative_matrix"}
	c := callSaxpy(1, x.Range(), x.Range())
	c.Shader = &s
	rec.Dispatch(c)
	assert.Equal(t, d.Has("VK_KHR_cooperative_matrix"), rec.Err() == nil)
	assert.Equal(t, rec.Err() != nil, errors.As(rec.Err(), new(*vk.UnsupportedError)))
}
