package vk

// MemoryKind says who uses a buffer's memory.
type MemoryKind uint8

// Kinds of memory.
const (
	DeviceMemory   MemoryKind = iota // the device; mapped where the device shares memory with the host
	UploadMemory                     // written by the host, read by the device; always mapped
	ReadbackMemory                   // written by the device, read by the host; always mapped
)

// Buffer is a piece of memory that shaders can bind.
type Buffer struct {
	name string
	size int64
}

// NewBuffer returns a buffer with memory.
func (d *Device) NewBuffer(name string, size int64, kind MemoryKind) (*Buffer, error) {
	return nil, errTODO
}

// DeclareBuffer returns a buffer of device memory that has none until Allocate.
func (d *Device) DeclareBuffer(name string, size int64) *Buffer { return &Buffer{name, size} }

// Allocate gives a declared buffer its memory.
func (b *Buffer) Allocate() error { return errTODO }

// Release gives the memory back. It is nil-safe and idempotent.
func (b *Buffer) Release() {}

// Name is the name given at creation.
func (b *Buffer) Name() string { return b.name }

// Size is the size in bytes.
func (b *Buffer) Size() int64 { return b.size }

// Bytes is the mapped memory, or nil if the host cannot map it.
func (b *Buffer) Bytes() []byte { return nil }

// Range is the whole buffer.
func (b *Buffer) Range() Range { return Range{b, 0, b.size} }
