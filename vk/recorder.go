package vk

import (
	"fmt"
	"math/bits"
	"slices"
)

// Recorder collects the calls of a program. It is not safe for concurrent use.
type Recorder struct {
	d       *Device
	name    string
	section string
	ops     []op
	infos   []CallInfo
	err     error
}

// op is a dispatch, a copy or a fill.
type op struct {
	call     *Call // nil for a copy or a fill
	dst, src Range // of a copy; src is zero for a fill
	word     uint32
	uses     []access
	pipeline *pipeline
	set      int    // index of the call's descriptor set
	push     []byte // the call's, with the addresses of its pointers
	barrier  bool   // a hazard lies between this op and one since the last barrier
}

// CallInfo describes a recorded call.
type CallInfo struct {
	Label   string // Call.Label or Shader.Name; "copy NAME" and "fill NAME" with the name of the destination's buffer
	Shader  string // Shader.Name, "copy" or "fill"
	Section string // of the last Mark
	Groups  [3]uint32
	Read    int64 // bytes of the bindings that are read
	Written int64 // bytes of the bindings that are written
	FLOPs   int64
}

// NewRecorder returns an empty recorder; name appears in errors.
func (d *Device) NewRecorder(name string) *Recorder { return &Recorder{d: d, name: name} }

// Device is the device of the recorder.
func (r *Recorder) Device() *Device { return r.d }

// Mark starts a named section: the calls that follow bear its name.
func (r *Recorder) Mark(name string) { r.section = name }

// Fail keeps err if it is the first.
func (r *Recorder) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Err is the first error of the recording.
func (r *Recorder) Err() error { return r.err }

// Calls lists what was recorded.
func (r *Recorder) Calls() []CallInfo { return slices.Clone(r.infos) }

// Dispatch appends a call. Spec, Push and Bind are copied. A call that the device cannot run is an error: it
// is an *UnsupportedError if another device could.
func (r *Recorder) Dispatch(c Call) {
	if r.err != nil {
		return
	}
	if err := r.check(&c); err != nil {
		r.fail(c.label(), err)
		return
	}
	c.Spec, c.Push, c.Bind = slices.Clone(c.Spec), slices.Clone(c.Push), slices.Clone(c.Bind)
	info := CallInfo{Label: c.label(), Shader: c.Shader.Name, Section: r.section, Groups: c.Groups, FLOPs: c.FLOPs}
	o := op{call: &c}
	for i, b := range c.Bind {
		if b.IsZero() {
			continue
		}
		a := c.Shader.Bindings[i].Access
		o.uses = append(o.uses, access{b, a})
		if a&Read != 0 {
			info.Read += b.Size
		}
		if a&Write != 0 {
			info.Written += b.Size
		}
	}
	r.append(o, info)
}

func (c *Call) label() string {
	if c.Label != "" || c.Shader == nil {
		return c.Label
	}
	return c.Shader.Name
}

// Copy appends a copy of src to dst; they have one size and do not overlap.
func (r *Recorder) Copy(dst, src Range) {
	if r.err != nil {
		return
	}
	err := r.checkTransfer(dst)
	if err == nil {
		err = r.checkTransfer(src)
	}
	switch {
	case err != nil:
	case dst.Size != src.Size:
		err = fmt.Errorf("copies %d bytes to %d, want one size", src.Size, dst.Size)
	case dst.Buf == src.Buf && dst.Off < src.Off+src.Size && src.Off < dst.Off+dst.Size:
		err = fmt.Errorf("source [%d, +%d) and destination [%d, +%d) overlap", src.Off, src.Size, dst.Off, dst.Size)
	}
	if err != nil {
		r.fail("copy", err)
		return
	}
	r.append(op{dst: dst, src: src, uses: []access{{dst, Write}, {src, Read}}},
		CallInfo{Label: "copy " + dst.Buf.name, Shader: "copy", Section: r.section, Read: src.Size, Written: dst.Size})
}

// Fill appends a fill of dst with a 32-bit word; offset and size are multiples of 4.
func (r *Recorder) Fill(dst Range, word uint32) {
	if r.err != nil {
		return
	}
	err := r.checkTransfer(dst)
	if err == nil && (dst.Off%4 != 0 || dst.Size%4 != 0) {
		err = fmt.Errorf("range [%d, +%d) of buffer %s, want multiples of 4", dst.Off, dst.Size, dst.Buf.name)
	}
	if err != nil {
		r.fail("fill", err)
		return
	}
	r.append(op{dst: dst, word: word, uses: []access{{dst, Write}}},
		CallInfo{Label: "fill " + dst.Buf.name, Shader: "fill", Section: r.section, Written: dst.Size})
}

func (r *Recorder) append(o op, info CallInfo) {
	r.ops = append(r.ops, o)
	r.infos = append(r.infos, info)
}

// fail keeps an error of the call that would have been appended.
func (r *Recorder) fail(label string, err error) {
	r.err = fmt.Errorf("vk: %s: call %d, %s: %w", r.name, len(r.ops), label, err)
}

func (r *Recorder) checkTransfer(x Range) error {
	if x.IsZero() {
		return fmt.Errorf("the range has no buffer")
	}
	return x.check(r.d)
}

// check compares a call with its shader and the device's limits.
func (r *Recorder) check(c *Call) error {
	s, lim := c.Shader, r.d.limits
	if s == nil {
		return fmt.Errorf("the call has no shader")
	}
	what := "shader " + s.Name
	for _, need := range s.Needs {
		if !r.d.Has(need) {
			return &UnsupportedError{what, need}
		}
	}
	if err := checkSPIRV(s.SPIRV); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if minor, most := uint32(s.SPIRV[5]), r.d.physical.spirvMinor; minor > most {
		return &UnsupportedError{what, fmt.Sprintf("SPIR-V 1.%d (the limit is 1.%d)", minor, most)}
	}
	buffers, push := s.buffers(), s.pushBytes()
	if uint32(buffers) > lim.Bindings {
		return &UnsupportedError{what, fmt.Sprintf("%d storage buffers (the limit is %d)", buffers, lim.Bindings)}
	}
	if push > lim.PushBytes {
		return &UnsupportedError{what, fmt.Sprintf("%d bytes of push constants (the limit is %d)", push, lim.PushBytes)}
	}
	if push > s.Push && s.Push%8 != 0 {
		return fmt.Errorf("%s: %d bytes of push constants before pointers, want a multiple of 8", what, s.Push)
	}
	if uint32(len(c.Push)) != s.Push || s.Push%4 != 0 {
		return fmt.Errorf("%s: %d bytes of push constants, want %d, a multiple of 4", what, len(c.Push), s.Push)
	}
	if c.Spec != nil && len(c.Spec) != len(s.Spec) {
		return fmt.Errorf("%s: %d specialization constants, want %d", what, len(c.Spec), len(s.Spec))
	}
	local := c.localSize()
	if n := uint64(local[0]) * uint64(local[1]) * uint64(local[2]); n == 0 || n > uint64(lim.Invocations) {
		return &UnsupportedError{what, fmt.Sprintf("a workgroup of %dx%dx%d invocations (the limit is %d)", local[0], local[1], local[2], lim.Invocations)}
	}
	if err := r.d.checkSubgroups(c, local); err != nil {
		return err
	}
	for i, g := range c.Groups {
		if g == 0 || g > lim.MaxGroups {
			return fmt.Errorf("%s: groups are %v, want 1 to %d in dimension %d", what, c.Groups, lim.MaxGroups, i)
		}
	}
	if len(c.Bind) != len(s.Bindings) {
		return fmt.Errorf("%s: %d bindings, want %d", what, len(c.Bind), len(s.Bindings))
	}
	for i, b := range c.Bind {
		if b.IsZero() {
			continue
		}
		name := s.Bindings[i].Name
		if err := b.check(r.d); err != nil {
			return fmt.Errorf("%s: binding %s: %w", what, name, err)
		}
		align := int64(lim.OffsetAlign)
		if i >= buffers {
			align = pointerAlign
		}
		if b.Off%align != 0 {
			return fmt.Errorf("%s: binding %s: offset %d of buffer %s, want a multiple of %d", what, name, b.Off, b.Buf.name, align)
		}
		if i < buffers && b.Size > lim.MaxRange {
			return &UnsupportedError{what, fmt.Sprintf("%d bytes in binding %s (the limit is %d)", b.Size, name, lim.MaxRange)}
		}
	}
	return nil
}

// checkSubgroups compares Call.SubgroupSize with what the device can promise to a workgroup of that size.
func (d *Device) checkSubgroups(c *Call, local [3]uint32) error {
	size, lim := c.SubgroupSize, d.limits
	if size == 0 {
		return nil
	}
	what := "shader " + c.Shader.Name
	if bits.OnesCount32(size) != 1 || local[0]%size != 0 {
		return fmt.Errorf("%s: subgroup size is %d in a workgroup of %dx%dx%d, want a power of two that divides its first dimension", what, size, local[0], local[1], local[2])
	}
	if size < lim.SubgroupMin || size > lim.SubgroupMax {
		return &UnsupportedError{what, fmt.Sprintf("subgroups of %d (the limits are %d to %d)", size, lim.SubgroupMin, lim.SubgroupMax)}
	}
	if n := local[0] * local[1] * local[2] / size; d.physical.maxSubgroups != 0 && n > d.physical.maxSubgroups {
		return &UnsupportedError{what, fmt.Sprintf("%d subgroups of %d in a workgroup (the limit is %d)", n, size, d.physical.maxSubgroups)}
	}
	return nil
}

// localSize is the workgroup size after specialization.
func (c *Call) localSize() [3]uint32 {
	s := c.Shader
	local := s.Local
	words := specWords(c)
	for axis, id := range s.LocalID {
		for i, k := range s.Spec {
			if id >= 0 && k.ID == uint32(id) {
				local[axis] = words[i]
			}
		}
	}
	return local
}
