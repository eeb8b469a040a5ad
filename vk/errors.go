package vk

import "errors"

// Sentinels that errors of this package unwrap to.
var (
	ErrDeviceLost  = errors.New("device lost")
	ErrOutOfMemory = errors.New("out of memory")
	ErrNoDevice    = errors.New("no Vulkan device")
	ErrNoLoader    = errors.New("no Vulkan loader")
)

// Result is a VkResult.
type Result int32

// Error is a Vulkan call that failed. It unwraps to ErrDeviceLost or ErrOutOfMemory where the result says so.
type Error struct {
	Call   string // "vkQueueSubmit"
	Result Result
	Detail string // what was attempted: sizes, the label of the call, what was in flight
}

func (e *Error) Error() string { return e.Call + ": " + e.Detail }

// UnsupportedError says that the device lacks something that the work needs.
type UnsupportedError struct {
	What  string // what was to be done: "shader conv_fwd_f16"
	Needs string // what the device lacks: "shaderFloat16"
}

func (e *UnsupportedError) Error() string {
	return "vk: " + e.What + " needs " + e.Needs + ", which the device lacks"
}
