package vk_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/vk"
)

func TestCallsThatCannotRun(t *testing.T) {
	d := open(t, &vk.Options{Lower: &vk.Limits{Invocations: 128, OffsetAlign: 256, MaxRange: 4096, PushBytes: 64, MaxGroups: 100}})
	other := open(t, nil)
	x, y := d.DeclareBuffer("x", 8192), d.DeclareBuffer("y", 8192)
	foreign := other.DeclareBuffer("z", 8192)
	xr, yr := x.Range().Slice(0, 256), y.Range().Slice(0, 256)
	shader := func(change func(*vk.Shader)) func(*vk.Call) {
		return func(c *vk.Call) { s := *saxpy; change(&s); c.Shader = &s }
	}
	pointer := func(push uint32, off int64) func(*vk.Call) {
		return func(c *vk.Call) {
			shader(func(s *vk.Shader) {
				s.Push = push
				s.Bindings = []vk.Binding{s.Bindings[0], {Name: "Y", Access: vk.Read, Pointer: true}}
			})(c)
			c.Bind[1].Off = off
		}
	}
	for _, row := range []struct {
		name        string
		change      func(*vk.Call)
		want        string
		unsupported bool
	}{
		{"odd pointer", pointer(8, 24), "binding Y: offset 24 of buffer y, want a multiple of 16", false},
		{"odd push before a pointer", pointer(12, 0), "12 bytes of push constants before pointers, want a multiple of 8", false},
		{"large push with a pointer", pointer(64, 0), "72 bytes of push constants (the limit is 64)", true},
		{"no shader", func(c *vk.Call) { c.Shader = nil }, "no shader", false},
		{"too few bindings", func(c *vk.Call) { c.Bind = c.Bind[:1] }, "1 bindings, want 2", false},
		{"short push block", func(c *vk.Call) { c.Push = c.Push[:4] }, "4 bytes of push constants, want 8", false},
		{"large push block", shader(func(s *vk.Shader) { s.Push = 68 }), "68 bytes of push constants (the limit is 64)", true},
		{"wrong spec", func(c *vk.Call) { c.Spec = []uint32{64} }, "1 specialization constants, want 2", false},
		{"large workgroup", func(c *vk.Call) { c.Spec = []uint32{256, 0} }, "256x1x1 invocations (the limit is 128)", true},
		{"empty workgroup", func(c *vk.Call) { c.Spec = []uint32{0, 0} }, "0x1x1 invocations", true},
		{"no groups", func(c *vk.Call) { c.Groups[1] = 0 }, "groups are [1 0 1], want 1 to 100 in dimension 1", false},
		{"many groups", func(c *vk.Call) { c.Groups[2] = 101 }, "groups are [1 1 101], want 1 to 100 in dimension 2", false},
		{"odd offset", func(c *vk.Call) { c.Bind[0].Off = 128 }, "offset 128 of buffer x, want a multiple of 256", false},
		{"negative offset", func(c *vk.Call) { c.Bind[0].Off = -256 }, "range [-256, -256+256) of buffer x", false},
		{"empty range", func(c *vk.Call) { c.Bind[0].Size = 0 }, "range [0, 0+0) of buffer x", false},
		{"beyond the end", func(c *vk.Call) { c.Bind[0].Off = 8192 }, "range [8192, 8192+256) of buffer x, want a part of its 8192 bytes", false},
		{"large range", func(c *vk.Call) { c.Bind[1].Size = 4100 }, "4100 bytes in binding Y (the limit is 4096)", true},
		{"other device", func(c *vk.Call) { c.Bind[0] = foreign.Range() }, "buffer z belongs to another device", false},
		{"missing feature", shader(func(s *vk.Shader) { s.Needs = []string{"shaderTelepathy"} }), "needs shaderTelepathy, which the device lacks", true},
		{"newer SPIR-V", shader(func(s *vk.Shader) { s.SPIRV = bytes.Clone(s.SPIRV); s.SPIRV[5] = 9 }), "needs SPIR-V 1.9 (the limit is 1.", true},
		{"no SPIR-V", shader(func(s *vk.Shader) { s.SPIRV = nil }), "SPIR-V is empty", false},
	} {
		rec := d.NewRecorder("bad")
		c := callSaxpy(1, xr, yr)
		c.Label = "the call"
		row.change(&c)
		rec.Dispatch(c)
		rec.Dispatch(vk.Call{}) // a second error does not hide the first
		err := rec.Err()
		if assert.ErrorContains(t, err, row.want, row.name) {
			assert.ErrorContains(t, err, "vk: bad: call 0, the call: ", row.name)
		}
		assert.Equal(t, row.unsupported, errors.As(err, new(*vk.UnsupportedError)), row.name)
		_, got := rec.Build(context.Background(), nil)
		assert.Equal(t, err, got, row.name)
	}
}

func TestTransfersThatCannotRun(t *testing.T) {
	d := open(t, nil)
	x, y := d.DeclareBuffer("x", 1024), d.DeclareBuffer("y", 1024)
	for want, do := range map[string]func(*vk.Recorder){
		"copies 8 bytes to 4, want one size":             func(r *vk.Recorder) { r.Copy(x.Range().Slice(0, 4), y.Range().Slice(0, 8)) },
		"source [0, +8) and destination [4, +8) overlap": func(r *vk.Recorder) { r.Copy(x.Range().Slice(4, 8), x.Range().Slice(0, 8)) },
		"the range has no buffer":                        func(r *vk.Recorder) { r.Copy(vk.Range{}, x.Range()) },
		"range [1020, 1020+8) of buffer y":               func(r *vk.Recorder) { r.Copy(x.Range().Slice(0, 8), y.Range().Slice(1020, 8)) },
		"range [2, +8) of buffer x, want multiples of 4": func(r *vk.Recorder) { r.Fill(x.Range().Slice(2, 8), 0) },
		"range [0, 0+2048) of buffer x":                  func(r *vk.Recorder) { r.Fill(x.Range().Slice(0, 2048), 0) },
		"planted":                                        func(r *vk.Recorder) { r.Fail(errors.New("planted")); r.Fill(vk.Range{}, 0) },
		"buffer x has no memory, want Allocate before":   func(r *vk.Recorder) { r.Fill(x.Range(), 0) },
	} {
		rec := d.NewRecorder("bad")
		do(rec)
		_, err := rec.Build(context.Background(), nil)
		assert.ErrorContains(t, err, want)
	}
	for want, err := range map[string]error{
		"no buffer": d.Upload(vk.Range{}, nil), "4 bytes of data for a range of 8 in buffer x": d.Upload(x.Range().Slice(0, 8), make([]byte, 4)),
		"buffer x has no memory": d.Download(x.Range(), make([]byte, 1024)),
	} {
		assert.ErrorContains(t, err, want)
	}
}

func TestCallsAreListed(t *testing.T) {
	d := open(t, nil)
	x, y := d.DeclareBuffer("x", 1024), d.DeclareBuffer("y", 1024)
	rec := d.NewRecorder("list")
	rec.Fill(x.Range(), 0)
	rec.Mark("forward")
	c := callSaxpy(1, x.Range(), y.Range())
	rec.Dispatch(c)
	c.Label, c.Bind = "unused x", []vk.Range{{}, y.Range().Slice(0, 512)}
	rec.Dispatch(c)
	rec.Copy(y.Range(), x.Range())
	require.NoError(t, rec.Err())
	assert.Equal(t, []vk.CallInfo{
		{Label: "fill x", Shader: "fill", Written: 1024},
		{Label: "saxpy", Shader: "saxpy", Section: "forward", Groups: [3]uint32{4, 1, 1}, Read: 2048, Written: 1024, FLOPs: 512},
		{Label: "unused x", Shader: "saxpy", Section: "forward", Groups: [3]uint32{4, 1, 1}, Read: 512, Written: 512, FLOPs: 512},
		{Label: "copy y", Shader: "copy", Section: "forward", Read: 1024, Written: 1024},
	}, rec.Calls())
}

// Barriers stand exactly before the calls that conflict with one since the last barrier.
func TestBarriersOnlyWhereNeeded(t *testing.T) {
	d := open(t, nil)
	x, y, z := newBuffer(t, d, "x", 4096), newBuffer(t, d, "y", 4096), newBuffer(t, d, "z", 4096)
	part := func(b *vk.Buffer, i int64) vk.Range { return b.Range().Slice(1024*i, 1024) }
	rec := d.NewRecorder("barriers")
	rec.Fill(x.Range(), 0)                             // 0
	rec.Fill(y.Range(), 0)                             // 1 beside
	rec.Dispatch(callSaxpy(1, part(x, 0), part(y, 0))) // 2 RAW: barrier
	rec.Dispatch(callSaxpy(1, part(x, 0), part(y, 1))) // 3 reads the same, writes beside
	rec.Dispatch(callSpin(1, part(x, 1)))              // 4 writes beside what was read
	rec.Dispatch(callSpin(1, part(x, 0)))              // 5 WAR: barrier
	rec.Copy(part(z, 0), part(y, 0))                   // 6 y was written before the last barrier
	rec.Copy(part(z, 1), part(y, 1))                   // 7
	rec.Fill(part(z, 0).Slice(1020, 4), 1)             // 8 WAW in the last word: barrier
	rec.Fill(part(z, 0).Slice(0, 1020), 1)             // 9 beside
	rec.Dispatch(callSaxpy(1, part(z, 2), part(z, 0))) // 10 RAW and WAW: barrier
	p, err := rec.Build(context.Background(), nil)
	require.NoError(t, err)
	assert.Equal(t, []int{2, 5, 8, 10}, vk.Barriers(p))
}
