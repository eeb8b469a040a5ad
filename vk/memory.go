package vk

import (
	"errors"
	"slices"
	"sync"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"

	"github.com/seed-8d806880/vkeffnet/vk/internal/raw"
)

// MemoryKind says who uses a buffer's memory.
type MemoryKind uint8

// Kinds of memory.
const (
	DeviceMemory   MemoryKind = iota // the device; mapped where it shares memory with the host
	UploadMemory                     // written by the host, read by the device; always mapped
	ReadbackMemory                   // written by the device, read by the host; always mapped
)

const (
	// granule aligns every buffer: no device wants more for a storage buffer's offset
	// (https://registry.khronos.org/vulkan/specs/1.3/html/chap54.html#limits-required).
	granule = 256
	// A pool's blocks start small and double, so that a test's few buffers take little and a network's
	// thousand few allocations. A buffer of at least maxBlock gets a block of its own.
	minBlock = 4 << 20
	maxBlock = 64 << 20
)

// memory gives parts of few large blocks.
type memory struct {
	mu     sync.Mutex
	blocks [3][]*block // by MemoryKind
	used   []int64     // bytes of blocks, by heap
	limit  []int64
}

// block is one VkDeviceMemory with one VkBuffer over all of it.
type block struct {
	kind   MemoryKind
	heap   uint32
	memory vulkan.DeviceMemory
	buffer vulkan.Buffer
	size   int64
	at     uint64 // device address, or 0
	bytes  int64  // of the VkDeviceMemory, which may be larger
	mapped []byte // nil if not mapped
	free   []span // ascending, never adjacent
}

// span is a range of bytes [lo, hi).
type span struct{ lo, hi int64 }

func (m *memory) init(p *physical, lower *Limits) {
	m.used = make([]int64, len(p.heaps))
	m.limit = slices.Clone(p.heaps)
	if lower != nil && lower.Heap > 0 {
		for i := range m.limit {
			m.limit[i] = min(m.limit[i], lower.Heap)
		}
	}
}

// take finds or makes room for a buffer.
func (d *Device) take(name string, size int64, kind MemoryKind) (*block, int64, error) {
	m := &d.memory
	size = (size + granule - 1) / granule * granule
	m.mu.Lock()
	defer m.mu.Unlock()
	if size < maxBlock {
		for _, b := range m.blocks[kind] {
			if off, ok := b.take(size); ok {
				return b, off, nil
			}
		}
	}
	if size > d.limits.MaxAllocation {
		return nil, 0, &MemoryError{Buffer: name, Want: size, Limit: d.limits.MaxAllocation}
	}
	wanted := int64(minBlock)
	if n := len(m.blocks[kind]); n > 0 {
		wanted = min(2*m.blocks[kind][n-1].size, maxBlock)
	}
	b, err := d.newBlock(name, max(size, min(wanted, d.limits.MaxAllocation)), kind)
	if errors.Is(err, ErrOutOfMemory) && wanted > size {
		b, err = d.newBlock(name, size, kind)
	}
	if err != nil {
		return nil, 0, err
	}
	m.blocks[kind] = append(m.blocks[kind], b)
	off, _ := b.take(size)
	return b, off, nil
}

// give takes a part back and frees the block when it is empty.
func (d *Device) give(b *block, off, size int64) {
	m := &d.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	b.give(off, (size+granule-1)/granule*granule)
	if len(b.free) == 1 && b.free[0] == (span{0, b.size}) {
		i := slices.Index(m.blocks[b.kind], b)
		m.blocks[b.kind] = slices.Delete(m.blocks[b.kind], i, i+1)
		d.freeBlock(b)
	}
}

// take is first fit.
func (b *block) take(size int64) (int64, bool) {
	for i, f := range b.free {
		if f.hi-f.lo < size {
			continue
		}
		if b.free[i].lo += size; b.free[i].lo == f.hi {
			b.free = slices.Delete(b.free, i, i+1)
		}
		return f.lo, true
	}
	return 0, false
}

func (b *block) give(off, size int64) {
	i, _ := slices.BinarySearchFunc(b.free, off, func(s span, off int64) int {
		if s.lo < off {
			return -1
		}
		return 1
	})
	b.free = slices.Insert(b.free, i, span{off, off + size})
	if i+1 < len(b.free) && b.free[i].hi == b.free[i+1].lo {
		b.free[i].hi = b.free[i+1].hi
		b.free = slices.Delete(b.free, i+1, i+2)
	}
	if i > 0 && b.free[i-1].hi == b.free[i].lo {
		b.free[i-1].hi = b.free[i].hi
		b.free = slices.Delete(b.free, i, i+1)
	}
}

// newBlock allocates a block; name is that of the buffer which needs it.
func (d *Device) newBlock(name string, size int64, kind MemoryKind) (_ *block, err error) {
	b := &block{kind: kind, size: size, free: []span{{0, size}}}
	defer func() {
		if err != nil {
			d.freeBlock(b)
		}
	}()
	info := vulkan.BufferCreateInfo{SType: vulkan.StructureTypeBufferCreateInfo, Size: vulkan.DeviceSize(size),
		Usage: vulkan.BufferUsageFlags(vulkan.BufferUsageStorageBufferBit | vulkan.BufferUsageTransferSrcBit | vulkan.BufferUsageTransferDstBit)}
	addressable := d.Has("bufferDeviceAddress")
	if addressable {
		info.Usage |= raw.BufferUsageDeviceAddress
	}
	defer info.Free()
	var buffer vulkan.Buffer
	err = d.do("vkCreateBuffer", func() vulkan.Result { return vulkan.CreateBuffer(d.handle, &info, nil, &buffer) }, "buffer ", name)
	b.buffer = buffer
	if b.buffer != nil {
		d.add(objBuffer)
	}
	if err != nil {
		return nil, err
	}
	var need vulkan.MemoryRequirements
	vulkan.GetBufferMemoryRequirements(d.handle, b.buffer, &need)
	need.Deref()
	defer need.Free()
	index, ok := d.physical.memoryFor(kind, d.unified, need.MemoryTypeBits)
	if !ok {
		return nil, &UnsupportedError{"buffer " + name, "a fitting type of memory"}
	}
	t := d.physical.memory[index]
	b.heap = t.heap
	if used, limit := d.memory.used[b.heap], d.memory.limit[b.heap]; used+int64(need.Size) > limit {
		return nil, &MemoryError{Buffer: name, Want: int64(need.Size), Used: used, Limit: limit}
	}
	allocate := vulkan.MemoryAllocateInfo{SType: vulkan.StructureTypeMemoryAllocateInfo, AllocationSize: need.Size, MemoryTypeIndex: index}
	if addressable {
		allocate.PNext = raw.Addressable()
	}
	defer allocate.Free()
	var memory vulkan.DeviceMemory
	err = d.do("vkAllocateMemory", func() vulkan.Result { return vulkan.AllocateMemory(d.handle, &allocate, nil, &memory) },
		"buffer ", name, ": want ", need.Size, " bytes, ", d.memory.used[b.heap], " are in use")
	b.memory = memory
	if b.memory != nil {
		b.bytes = int64(need.Size)
		d.memory.used[b.heap] += b.bytes
		d.census.bytes.Add(b.bytes)
		d.add(objMemory)
	}
	if err != nil {
		return nil, err
	}
	err = d.do("vkBindBufferMemory", func() vulkan.Result { return vulkan.BindBufferMemory(d.handle, b.buffer, b.memory, 0) }, "buffer ", name)
	if err != nil {
		return nil, err
	}
	if addressable {
		b.at = raw.Address(d.handle, b.buffer, slices.Contains(d.physical.features.extensions, "VK_KHR_buffer_device_address"))
	}
	if t.flags&vulkan.MemoryPropertyHostVisibleBit == 0 || kind == DeviceMemory && !d.unified {
		return b, nil
	}
	var at unsafe.Pointer
	err = d.do("vkMapMemory", func() vulkan.Result {
		return vulkan.MapMemory(d.handle, b.memory, 0, vulkan.DeviceSize(b.bytes), 0, &at)
	}, "buffer ", name)
	if err != nil {
		return nil, err
	}
	b.mapped = unsafe.Slice((*byte)(at), size)
	return b, nil
}

// freeBlock releases as much of a block as exists; memory that is mapped is unmapped by freeing it.
func (d *Device) freeBlock(b *block) {
	if b.buffer != nil {
		vulkan.DestroyBuffer(d.handle, b.buffer, nil)
		d.remove(objBuffer)
	}
	if b.memory != nil {
		vulkan.FreeMemory(d.handle, b.memory, nil)
		d.memory.used[b.heap] -= b.bytes
		d.census.bytes.Add(-b.bytes)
		d.remove(objMemory)
	}
}

// memoryFor chooses the memory type for a kind among those whose bit is set in allowed.
func (p *physical) memoryFor(kind MemoryKind, unified bool, allowed uint32) (uint32, bool) {
	const (
		local    = vulkan.MemoryPropertyDeviceLocalBit
		visible  = vulkan.MemoryPropertyHostVisibleBit
		coherent = vulkan.MemoryPropertyHostCoherentBit
		cached   = vulkan.MemoryPropertyHostCachedBit
	)
	// Each row: flags that must be there, that are better there, that are better absent.
	type want struct{ must, better, worse vulkan.MemoryPropertyFlagBits }
	var wants []want
	switch kind {
	case UploadMemory:
		wants = []want{{visible | coherent, 0, cached}}
	case ReadbackMemory:
		wants = []want{{visible | coherent, cached, local}}
	default:
		if unified {
			wants = append(wants, want{local | visible | coherent, cached, 0})
		}
		wants = append(wants, want{local, 0, visible}, want{0, 0, 0})
	}
	for _, w := range wants {
		best, bestScore := -1, -1
		for i, t := range p.memory {
			// Flags beyond the four are for protected, lazily backed, or uncached memory.
			if allowed>>i&1 == 0 || t.flags&w.must != w.must || t.flags&^(local|visible|coherent|cached) != 0 {
				continue
			}
			score := 1
			if t.flags&w.better != 0 {
				score++
			}
			if t.flags&w.worse != 0 {
				score--
			}
			if score > bestScore {
				best, bestScore = i, score
			}
		}
		if best >= 0 {
			return uint32(best), true
		}
	}
	return 0, false
}
