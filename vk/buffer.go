package vk

import (
	"fmt"
	"sync"
	"unsafe"
)

// Buffer is a piece of memory that shaders bind. What new memory holds is undefined. Its methods are safe for
// concurrent use; what is in the memory is the caller's to order.
type Buffer struct {
	d    *Device
	name string
	size int64
	kind MemoryKind

	mu    sync.Mutex
	block *block // nil without memory
	off   int64  // of the buffer in its block
}

// NewBuffer returns a buffer with memory; the caller releases it. The error unwraps to ErrOutOfMemory if it
// does not fit.
func (d *Device) NewBuffer(name string, size int64, kind MemoryKind) (*Buffer, error) {
	b := &Buffer{d: d, name: name, size: size, kind: kind}
	if err := b.Allocate(); err != nil {
		return nil, err
	}
	return b, nil
}

// DeclareBuffer returns a buffer of device memory that has none until Allocate. It can be recorded; Build
// wants the memory.
func (d *Device) DeclareBuffer(name string, size int64) *Buffer {
	return &Buffer{d: d, name: name, size: size}
}

// Allocate gives a buffer without memory its memory.
func (b *Buffer) Allocate() error {
	if b.size <= 0 {
		return fmt.Errorf("vk: buffer %s: size is %d, want at least 1 byte", b.name, b.size)
	}
	if b.kind > ReadbackMemory {
		return fmt.Errorf("vk: buffer %s: kind of memory is %d, want at most %d", b.name, b.kind, ReadbackMemory)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.block != nil {
		return nil
	}
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	if b.d.closed {
		return errClosed
	}
	block, off, err := b.d.take(b.name, b.size, b.kind)
	if err != nil {
		return err
	}
	b.block, b.off = block, off
	b.d.buffers[b] = struct{}{}
	return nil
}

// Release gives the memory back; programs that use it must have been released or must not run any more. It is
// nil-safe and idempotent.
func (b *Buffer) Release() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.block == nil {
		return
	}
	b.d.give(b.block, b.off, b.size)
	b.block = nil
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	delete(b.d.buffers, b)
}

// Name is the name given at creation.
func (b *Buffer) Name() string { return b.name }

// Size is the size in bytes.
func (b *Buffer) Size() int64 { return b.size }

// Bytes is the mapped memory, or nil if there is none or the host cannot map it. What a program has written
// is there when its submission has ended; what the host writes is seen by programs submitted later.
func (b *Buffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.block == nil || b.block.mapped == nil {
		return nil
	}
	return b.block.mapped[b.off : b.off+b.size : b.off+b.size]
}

// Range is the whole buffer.
func (b *Buffer) Range() Range { return Range{b, 0, b.size} }

// place is where the buffer lies; ok is false without memory.
func (b *Buffer) place() (*block, int64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.block, b.off, b.block != nil
}

// check says what is wrong with a range, or nil.
func (r Range) check(d *Device) error {
	switch {
	case r.Buf.d != d:
		return fmt.Errorf("buffer %s belongs to another device", r.Buf.name)
	case r.Size <= 0 || r.Off < 0 || r.Off > r.Buf.size-r.Size:
		return fmt.Errorf("range [%d, %d+%d) of buffer %s, want a part of its %d bytes", r.Off, r.Off, r.Size, r.Buf.name, r.Buf.size)
	}
	return nil
}

// Device is the device of the buffer.
func (b *Buffer) Device() *Device { return b.d }

// Bytes views numbers as the bytes that Upload and Download move; it does not copy.
func Bytes[T ~float32 | ~int32 | ~uint32 | ~uint16 | ~uint8](x []T) []byte {
	var zero T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), len(x)*int(unsafe.Sizeof(zero)))
}
