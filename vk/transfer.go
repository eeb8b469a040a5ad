package vk

import (
	"errors"
	"fmt"
	"sync"

	vulkan "github.com/vulkan-go/vulkan"

	"github.com/seed-8d806880/vkeffnet/vk/internal/raw"
)

// stagingChunk is the size of one of the staging ring's two slots.
const stagingChunk = 4 << 20

// staging moves data between the host and memory that is not mapped, through two slots by turns.
type staging struct {
	mu    sync.Mutex
	ready bool
	up    *Buffer // two chunks each
	down  *Buffer
	pool  vulkan.CommandPool
	slots [2]struct {
		commands vulkan.CommandBuffer
		fence    vulkan.Fence
		busy     bool
	}
}

// Upload copies data, as long as dst, to dst. When it returns, calls submitted later see it. Mapped memory is
// written at once, so no program that uses dst may be running.
func (d *Device) Upload(dst Range, data []byte) error {
	if err := d.checkHost("upload", dst, len(data)); err != nil {
		return err
	}
	if m := dst.Buf.Bytes(); m != nil {
		copy(m[dst.Off:dst.Off+dst.Size], data)
		return nil
	}
	return d.stage(dst, func(s *staging, slot int, part span, rec func(func(vulkan.CommandBuffer)) error) error {
		at := int64(slot) * stagingChunk
		copy(s.up.Bytes()[at:], data[part.lo:part.hi])
		return rec(func(c vulkan.CommandBuffer) {
			from, to, fromOff, toOff := s.up.block, dst.Buf.block, s.up.off+at, dst.Buf.off+dst.Off+part.lo
			raw.Copy(c, from.buffer, fromOff, to.buffer, toOff, part.hi-part.lo)
		})
	}, nil)
}

// Download copies src into data, which is as long, after all programs submitted before have ended; from mapped
// memory it reads at once.
func (d *Device) Download(src Range, data []byte) error {
	if err := d.checkHost("download", src, len(data)); err != nil {
		return err
	}
	if m := src.Buf.Bytes(); m != nil {
		copy(data, m[src.Off:src.Off+src.Size])
		return nil
	}
	return d.stage(src, func(s *staging, slot int, part span, rec func(func(vulkan.CommandBuffer)) error) error {
		return rec(func(c vulkan.CommandBuffer) {
			from, to, fromOff, toOff := src.Buf.block, s.down.block, src.Buf.off+src.Off+part.lo, s.down.off+int64(slot)*stagingChunk
			raw.Copy(c, from.buffer, fromOff, to.buffer, toOff, part.hi-part.lo)
		})
	}, func(s *staging, slot int, part span) {
		at := int64(slot) * stagingChunk
		copy(data[part.lo:part.hi], s.down.Bytes()[at:])
	})
}

func (d *Device) checkHost(what string, r Range, n int) error {
	err := error(nil)
	switch {
	case r.IsZero():
		err = errors.New("the range has no buffer")
	case int64(n) != r.Size:
		err = fmt.Errorf("%d bytes of data for a range of %d in buffer %s", n, r.Size, r.Buf.name)
	default:
		err = r.check(d)
		if _, _, ok := r.Buf.place(); err == nil && !ok {
			err = fmt.Errorf("buffer %s has no memory, want Allocate before", r.Buf.name)
		}
	}
	if err != nil {
		return fmt.Errorf("vk: %s: %w", what, err)
	}
	return nil
}

// stage moves a range in chunks: start fills a slot and records its copy, finish (may be nil) empties the slot
// when the copy has ended.
func (d *Device) stage(r Range, start func(*staging, int, span, func(func(vulkan.CommandBuffer)) error) error, finish func(*staging, int, span)) (err error) {
	s := &d.staging
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready {
		if err := s.init(d); err != nil {
			s.destroy(d)
			return err
		}
	}
	var parts [2]span
	end := func(slot int) error {
		if !s.slots[slot].busy {
			return nil
		}
		_, err := d.wait("vkWaitForFences", func() vulkan.Result { return raw.WaitFence(d.handle, s.slots[slot].fence, ^uint64(0)) })
		s.slots[slot].busy = false
		if err == nil && finish != nil {
			finish(s, slot, parts[slot])
		}
		return lost(err, []string{"transfer " + r.Buf.name})
	}
	slot := 0
	for lo := int64(0); lo < r.Size && err == nil; lo += stagingChunk {
		if err = end(slot); err == nil {
			parts[slot] = span{lo, min(lo+stagingChunk, r.Size)}
			err = start(s, slot, parts[slot], func(copy func(vulkan.CommandBuffer)) error { return s.submit(d, slot, copy) })
		}
		slot = 1 - slot
	}
	return errors.Join(err, end(slot), end(1-slot))
}

// submit records and submits one copy, ordered with everything before and after it on the queue.
func (s *staging) submit(d *Device, slot int, copy func(vulkan.CommandBuffer)) error {
	x := &s.slots[slot]
	if err := d.begin(x.commands, vulkan.CommandBufferUsageOneTimeSubmitBit); err != nil {
		return err
	}
	barrierBefore(x.commands)
	copy(x.commands)
	barrierToHost(x.commands)
	if err := d.do("vkEndCommandBuffer", func() vulkan.Result { return vulkan.EndCommandBuffer(x.commands) }); err != nil {
		return err
	}
	if err := d.do("vkResetFences", func() vulkan.Result { return raw.ResetFence(d.handle, x.fence) }); err != nil {
		return err
	}
	d.queue.Lock()
	defer d.queue.Unlock()
	err := d.do("vkQueueSubmit", func() vulkan.Result {
		return raw.Submit(d.queue.handle, []vulkan.CommandBuffer{x.commands}, x.fence)
	})
	x.busy = submitted(err)
	return err
}

func (s *staging) init(d *Device) (err error) {
	if s.up, err = d.NewBuffer("staging up", 2*stagingChunk, UploadMemory); err != nil {
		return err
	}
	if s.down, err = d.NewBuffer("staging down", 2*stagingChunk, ReadbackMemory); err != nil {
		return err
	}
	if s.pool, err = d.newCommandPool(); err != nil {
		return err
	}
	commands, err := d.newCommandBuffers(s.pool, 2)
	if err != nil {
		return err
	}
	for i := range s.slots {
		s.slots[i].commands = commands[i]
		if s.slots[i].fence, err = d.newFence(); err != nil {
			return err
		}
	}
	s.ready = true
	return nil
}

// release frees the ring; Close calls it.
func (s *staging) release(d *Device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.destroy(d)
}

func (s *staging) destroy(d *Device) {
	for i := range s.slots {
		d.freeFence(s.slots[i].fence)
		s.slots[i].fence = nil
	}
	d.freeCommandPool(s.pool)
	s.up.Release()
	s.down.Release()
	s.pool, s.up, s.down, s.ready = nil, nil, nil, false
}

// submitted reports whether vkQueueSubmit with this error left work on the queue: a validation message does.
func submitted(err error) bool { return err == nil || errors.Is(err, ErrValidation) }

// lost adds what was in flight to the error of a lost device.
func lost(err error, inFlight []string) error {
	if e := new(Error); errors.As(err, &e) && e.Result == DeviceLost {
		e.InFlight = inFlight
	}
	return err
}
