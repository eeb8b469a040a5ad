package vk

import (
	vulkan "github.com/vulkan-go/vulkan"

	"github.com/seed-8d806880/vkeffnet/vk/internal/raw"
)

// Stages and accesses of everything that runs on a device.
const (
	workStages = vulkan.PipelineStageComputeShaderBit | vulkan.PipelineStageTransferBit
	workWrites = vulkan.AccessShaderWriteBit | vulkan.AccessTransferWriteBit
	workAll    = workWrites | vulkan.AccessShaderReadBit | vulkan.AccessTransferReadBit
)

// barrierBefore orders all that was submitted or recorded before with all that comes after.
func barrierBefore(c vulkan.CommandBuffer) {
	raw.Barrier(c, workStages, workStages, workWrites, workAll)
}

// barrierToHost lets the host see what was written.
func barrierToHost(c vulkan.CommandBuffer) {
	raw.Barrier(c, workStages, vulkan.PipelineStageHostBit, workWrites, vulkan.AccessHostReadBit)
}

func (d *Device) begin(c vulkan.CommandBuffer, usage vulkan.CommandBufferUsageFlagBits) error {
	info := vulkan.CommandBufferBeginInfo{SType: vulkan.StructureTypeCommandBufferBeginInfo, Flags: vulkan.CommandBufferUsageFlags(usage)}
	defer info.Free()
	return d.do("vkBeginCommandBuffer", func() vulkan.Result { return vulkan.BeginCommandBuffer(c, &info) })
}

func (d *Device) newCommandPool() (pool vulkan.CommandPool, err error) {
	info := vulkan.CommandPoolCreateInfo{SType: vulkan.StructureTypeCommandPoolCreateInfo, QueueFamilyIndex: d.physical.family,
		Flags: vulkan.CommandPoolCreateFlags(vulkan.CommandPoolCreateResetCommandBufferBit)}
	defer info.Free()
	err = d.do("vkCreateCommandPool", func() vulkan.Result { return vulkan.CreateCommandPool(d.handle, &info, nil, &pool) })
	if pool != nil {
		d.add(objCommandPool)
	}
	return pool, err
}

// freeCommandPool frees a pool and its command buffers.
func (d *Device) freeCommandPool(pool vulkan.CommandPool) {
	if pool != nil {
		vulkan.DestroyCommandPool(d.handle, pool, nil)
		d.remove(objCommandPool)
	}
}

func (d *Device) newCommandBuffers(pool vulkan.CommandPool, n int) ([]vulkan.CommandBuffer, error) {
	info := vulkan.CommandBufferAllocateInfo{SType: vulkan.StructureTypeCommandBufferAllocateInfo, CommandPool: pool,
		Level: vulkan.CommandBufferLevelPrimary, CommandBufferCount: uint32(n)}
	defer info.Free()
	out := make([]vulkan.CommandBuffer, n)
	err := d.do("vkAllocateCommandBuffers", func() vulkan.Result { return vulkan.AllocateCommandBuffers(d.handle, &info, out) })
	return out, err
}

func (d *Device) newFence() (fence vulkan.Fence, err error) {
	info := vulkan.FenceCreateInfo{SType: vulkan.StructureTypeFenceCreateInfo}
	defer info.Free()
	err = d.do("vkCreateFence", func() vulkan.Result { return vulkan.CreateFence(d.handle, &info, nil, &fence) })
	if fence != nil {
		d.add(objFence)
	}
	return fence, err
}

func (d *Device) freeFence(fence vulkan.Fence) {
	if fence != nil {
		vulkan.DestroyFence(d.handle, fence, nil)
		d.remove(objFence)
	}
}
