package vk

// Buffer is device or host-visible memory.
type Buffer struct{}
