package vk

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"

	"github.com/seed-8d806880/vkeffnet/vk/internal/raw"
)

// BuildOptions say how a program is built; nil takes the defaults.
type BuildOptions struct {
	// Timestamps measures the device time of every call, see Program.Times. Calls then run one after another,
	// also where no hazard would make them.
	Timestamps bool

	// Budget is the device time that one submission should not exceed, so that no watchdog ends it and
	// others get their turn; 0 takes DefaultBudget.
	Budget time.Duration

	// Progress is told how many of the pipelines that do not exist yet have been created: first of none, then after
	// each. It is called from several goroutines, one at a time, and not at all if there are none to create.
	Progress func(done, total int)

	noBarriers bool // tests: plants the hazards that barriers prevent
}

// DefaultBudget is a tenth of the shortest time after which a desktop system kills a submission (Windows: 2 s,
// https://learn.microsoft.com/en-us/windows-hardware/drivers/display/timeout-detection-and-recovery).
const DefaultBudget = 200 * time.Millisecond

// A program's first segments, before anything was measured, end after this many calls, floating-point
// operations or bytes: about 0.2 s on the slowest device there is, a CPU with 10 GFLOP/s.
const (
	segmentCalls = 32
	segmentFLOPs = 2e9
	segmentBytes = 1 << 30
)

// Build turns the recording into a program: it creates the pipelines that do not exist yet, on several
// threads, allocates descriptor sets and records command buffers. The caller releases the program. The recorder
// may be built again, with other options. A recording without calls gives a program that does nothing.
func (r *Recorder) Build(ctx context.Context, o *BuildOptions) (*Program, error) {
	if r.err != nil {
		return nil, r.err
	}
	if o == nil {
		o = new(BuildOptions)
	}
	p := &Program{d: r.d, name: r.name, ops: append([]op(nil), r.ops...), infos: r.Calls(), budget: o.Budget, stamped: o.Timestamps}
	if p.budget <= 0 {
		p.budget = DefaultBudget
	}
	r.d.mu.Lock()
	if r.d.closed {
		r.d.mu.Unlock()
		return nil, errClosed
	}
	r.d.programs[p] = struct{}{}
	r.d.mu.Unlock()
	p.mu.Lock()
	err := p.build(ctx, o)
	p.mu.Unlock()
	r.d.pipelines.saveSoon(r.d)
	if err != nil {
		p.Release()
		return nil, fmt.Errorf("vk: build %s: %w", r.name, err)
	}
	return p, nil
}

func (p *Program) build(ctx context.Context, o *BuildOptions) error {
	d := p.d
	if o.Timestamps && d.physical.timestampMask == 0 {
		return &UnsupportedError{"BuildOptions.Timestamps", "timestamps on its queue"}
	}
	h := newHazards()
	var calls []*Call
	for i := range p.ops {
		op := &p.ops[i]
		for _, u := range op.uses {
			if _, _, ok := u.r.Buf.place(); !ok {
				return fmt.Errorf("call %d, %s: buffer %s has no memory, want Allocate before Build", i, p.infos[i].Label, u.r.Buf.name)
			}
		}
		if op.barrier = h.conflict(op.uses) && !o.noBarriers; op.barrier {
			h.barrier()
		}
		h.add(op.uses)
		if op.call != nil {
			calls = append(calls, op.call)
		}
	}
	pipelines, err := d.pipelines.getAll(ctx, d, calls, o.Progress)
	if err != nil {
		return err
	}
	next := 0
	for i := range p.ops {
		if p.ops[i].call != nil {
			p.ops[i].pipeline, p.ops[i].set = pipelines[next], next
			next++
			if p.ops[i].push, err = pushOf(p.ops[i].call); err != nil {
				return err
			}
		}
	}
	if err := p.makeSets(); err != nil {
		return err
	}
	if p.stamped && len(p.ops) > 0 {
		if err := p.makeQueries(); err != nil {
			return err
		}
	}
	if p.pool, err = d.newCommandPool(); err != nil {
		return err
	}
	return p.cut(span{0, int64(len(p.ops))}, func(calls int, flops, bytes int64) bool {
		return calls >= segmentCalls || flops >= segmentFLOPs || bytes >= segmentBytes
	})
}

// makeSets gives every dispatch its descriptor set.
func (p *Program) makeSets() error {
	d := p.d
	n, bindings := 0, 0
	for i := range p.ops {
		if c := p.ops[i].call; c != nil {
			n++
			bindings += c.Shader.buffers()
		}
	}
	if n == 0 {
		return nil
	}
	err := d.do("vkCreateDescriptorPool", func() (r vulkan.Result) {
		p.descriptors, r = raw.CreateDescriptorPool(d.handle, n, max(bindings, 1))
		return
	})
	if p.descriptors != nil {
		d.add(objDescriptorPool)
	}
	if err != nil {
		return err
	}
	p.sets = make([]vulkan.DescriptorSet, 0, n)
	var unused unusedRanges
	for i := range p.ops {
		op := &p.ops[i]
		if op.call == nil {
			continue
		}
		set, err := p.makeSet(op, &unused)
		if err != nil {
			return err
		}
		p.sets = append(p.sets, set)
	}
	return nil
}

func (p *Program) makeSet(op *op, unused *unusedRanges) (set vulkan.DescriptorSet, err error) {
	d := p.d
	err = d.do("vkAllocateDescriptorSets", func() (r vulkan.Result) { set, r = raw.AllocateSet(d.handle, p.descriptors, op.pipeline.sets); return })
	n := op.call.Shader.buffers()
	if err != nil || n == 0 {
		return set, err
	}
	buffers, offsets, sizes := make([]vulkan.Buffer, n), make([]uint64, n), make([]uint64, n)
	for i, b := range op.call.Bind[:n] {
		if b.IsZero() {
			if b, err = unused.take(p, op.call.Shader.Bindings[i].Access); err != nil {
				return set, err
			}
		}
		block, off, ok := b.Buf.place()
		if !ok {
			return set, lostMemory(b.Buf)
		}
		buffers[i], offsets[i], sizes[i] = block.buffer, uint64(off+b.Off), uint64(b.Size)
	}
	raw.UpdateSet(d.handle, set, buffers, offsets, sizes)
	return set, d.said("vkUpdateDescriptorSets")
}

func lostMemory(b *Buffer) error { return fmt.Errorf("buffer %s has no memory any more", b.name) }

// pushOf is what the call pushes: its own constants, then the addresses of its pointers.
func pushOf(c *Call) ([]byte, error) {
	n := c.Shader.buffers()
	push := slices.Clone(c.Push)
	for _, b := range c.Bind[n:] {
		var at uint64 // 0 for the zero Range, which no shader touches
		if !b.IsZero() {
			block, off, ok := b.Buf.place()
			if !ok {
				return nil, lostMemory(b.Buf)
			}
			at = block.at + uint64(off+b.Off)
		}
		push = binary.LittleEndian.AppendUint64(push, at)
	}
	return push, nil
}

// unusedRanges gives what is bound in place of the zero Range. No shader touches it, but the validation layer takes
// every bound range for used: those that a shader might write are a program's own and never given twice.
type unusedRanges struct {
	buf  *Buffer
	next int64
}

// unusedWrites is how many ranges share a buffer.
const unusedWrites = 64

func (u *unusedRanges) take(p *Program, access Access) (Range, error) {
	if access&Write == 0 {
		return p.d.unused()
	}
	if u.buf == nil || u.next == u.buf.size {
		b, err := p.d.NewBuffer("unused bindings", unusedWrites*granule, DeviceMemory)
		if err != nil {
			return Range{}, err
		}
		p.unused = append(p.unused, b)
		u.buf, u.next = b, 0
	}
	u.next += granule
	return u.buf.Range().Slice(u.next-granule, granule), nil
}

// unused is what is bound in place of the zero Range where a shader could only read.
func (d *Device) unused() (Range, error) {
	d.dummy.Lock()
	defer d.dummy.Unlock()
	if d.dummy.buffer == nil {
		b, err := d.NewBuffer("unused binding", granule, DeviceMemory)
		if err != nil {
			return Range{}, err
		}
		d.dummy.buffer = b
	}
	return d.dummy.buffer.Range(), nil
}

// Zeros are at least size bytes of zeros, which nothing may write: they stand for what lies outside of a tensor. They are
// one range for all who ask for so many, until Close. The error is that of NewBuffer or Upload.
func (d *Device) Zeros(size int64) (Range, error) {
	d.zeros.Lock()
	defer d.zeros.Unlock()
	if b := d.zeros.buffer; b != nil && b.size >= size {
		return b.Range(), nil
	}
	size = max(size, minZeros)
	b, err := d.NewBuffer("zeros", size, DeviceMemory)
	if err != nil {
		return Range{}, err
	}
	if err := d.Upload(b.Range(), make([]byte, size)); err != nil {
		b.Release()
		return Range{}, err
	}
	d.zeros.buffer = b
	return b.Range(), nil
}

// minZeros is how many zeros are made at first: a pixel of every EfficientNetV2.
const minZeros = 16 << 10

// makeQueries creates two timestamps per call.
func (p *Program) makeQueries() error {
	d := p.d
	info := vulkan.QueryPoolCreateInfo{SType: vulkan.StructureTypeQueryPoolCreateInfo, QueryType: vulkan.QueryTypeTimestamp, QueryCount: uint32(2 * len(p.ops))}
	defer info.Free()
	var queries vulkan.QueryPool
	err := d.do("vkCreateQueryPool", func() vulkan.Result { return vulkan.CreateQueryPool(d.handle, &info, nil, &queries) })
	p.queries = queries
	if p.queries != nil {
		d.add(objQueryPool)
	}
	return err
}

// cut replaces the segments of ops [at.lo, at.hi) (there are none yet on the first call) by new ones, each of
// which ends after the first op that makes full true, and records them.
func (p *Program) cut(at span, full func(calls int, flops, bytes int64) bool) error {
	var made []segment
	calls, flops, bytes := 0, int64(0), int64(0)
	for i := int(at.lo); i < int(at.hi); i++ {
		if calls == 0 {
			made = append(made, segment{first: i})
		}
		info := &p.infos[i]
		calls, flops, bytes = calls+1, flops+info.FLOPs, bytes+info.Read+info.Written
		made[len(made)-1].last = i + 1
		if full(calls, flops, bytes) {
			calls, flops, bytes = 0, 0, 0
		}
	}
	if len(made) == 0 {
		return nil
	}
	commands, err := p.d.newCommandBuffers(p.pool, len(made))
	if err != nil {
		return err
	}
	for i := range made {
		made[i].commands = commands[i]
		if err := p.record(&made[i]); err != nil {
			return err
		}
	}
	lo := slices.IndexFunc(p.segments, func(s segment) bool { return s.first == int(at.lo) })
	if lo < 0 {
		p.segments = append(p.segments, made...)
		return nil
	}
	hi := lo + 1
	for hi < len(p.segments) && p.segments[hi].last <= int(at.hi) {
		hi++
	}
	for _, s := range p.segments[lo:hi] {
		vulkan.FreeCommandBuffers(p.d.handle, p.pool, 1, []vulkan.CommandBuffer{s.commands})
	}
	p.segments = slices.Replace(p.segments, lo, hi, made...)
	return nil
}

// record fills the command buffer of a segment. Barriers reach back over command buffers and submissions, so
// that segments need none of their own, except the first towards what ran before and the last towards the host.
func (p *Program) record(s *segment) error {
	d, c := p.d, s.commands
	if err := d.begin(c, vulkan.CommandBufferUsageSimultaneousUseBit); err != nil {
		return err
	}
	if p.stamped {
		vulkan.CmdResetQueryPool(c, p.queries, uint32(2*s.first), uint32(2*(s.last-s.first)))
	}
	var bound *pipeline
	for i := s.first; i < s.last; i++ {
		op := &p.ops[i]
		if i == 0 || op.barrier || p.stamped {
			barrierBefore(c)
		}
		if p.stamped {
			vulkan.CmdWriteTimestamp(c, vulkan.PipelineStageTopOfPipeBit, p.queries, uint32(2*i))
		}
		switch {
		case op.call != nil:
			if bound != op.pipeline {
				vulkan.CmdBindPipeline(c, vulkan.PipelineBindPointCompute, op.pipeline.handle)
				bound = op.pipeline
			}
			vulkan.CmdBindDescriptorSets(c, vulkan.PipelineBindPointCompute, op.pipeline.layout, 0, 1, p.sets[op.set:op.set+1], 0, nil)
			if n := len(op.push); n > 0 {
				vulkan.CmdPushConstants(c, op.pipeline.layout, vulkan.ShaderStageFlags(vulkan.ShaderStageComputeBit), 0, uint32(n), unsafe.Pointer(&op.push[0]))
			}
			g := op.call.Groups
			vulkan.CmdDispatch(c, g[0], g[1], g[2])
		case op.src.IsZero():
			block, off, _ := op.dst.Buf.place()
			vulkan.CmdFillBuffer(c, block.buffer, vulkan.DeviceSize(off+op.dst.Off), vulkan.DeviceSize(op.dst.Size), op.word)
		default:
			dst, dstOff, _ := op.dst.Buf.place()
			src, srcOff, _ := op.src.Buf.place()
			raw.Copy(c, src.buffer, srcOff+op.src.Off, dst.buffer, dstOff+op.dst.Off, op.dst.Size)
		}
		if p.stamped {
			vulkan.CmdWriteTimestamp(c, vulkan.PipelineStageBottomOfPipeBit, p.queries, uint32(2*i+1))
		}
	}
	if s.last == len(p.ops) {
		barrierToHost(c)
	}
	return d.do("vkEndCommandBuffer", func() vulkan.Result { return vulkan.EndCommandBuffer(c) }, "program ", p.name)
}
