package vk

import (
	"errors"
	"fmt"
	"strings"

	vulkan "github.com/vulkan-go/vulkan"
)

// Sentinels that errors of this package unwrap to.
var (
	ErrDeviceLost  = errors.New("device lost")
	ErrOutOfMemory = errors.New("out of memory")
	ErrNoDevice    = errors.New("no Vulkan device")
	ErrNoLoader    = errors.New("no Vulkan loader")
	ErrValidation  = errors.New("validation message")
)

// install is what a machine without a loader or a device needs.
const install = "install a Vulkan driver: apt-get install libvulkan1 mesa-vulkan-drivers (AMD, Intel and CPU; NVIDIA's driver brings its own)"

// Result is a VkResult.
type Result int32

// Results that programs and tests name.
const (
	OutOfHostMemory   Result = Result(vulkan.ErrorOutOfHostMemory)
	OutOfDeviceMemory Result = Result(vulkan.ErrorOutOfDeviceMemory)
	InitFailed        Result = Result(vulkan.ErrorInitializationFailed)
	DeviceLost        Result = Result(vulkan.ErrorDeviceLost)
)

var resultNames = map[Result]string{
	1: "VK_NOT_READY", 2: "VK_TIMEOUT", 5: "VK_INCOMPLETE",
	-1: "VK_ERROR_OUT_OF_HOST_MEMORY", -2: "VK_ERROR_OUT_OF_DEVICE_MEMORY", -3: "VK_ERROR_INITIALIZATION_FAILED",
	-4: "VK_ERROR_DEVICE_LOST", -5: "VK_ERROR_MEMORY_MAP_FAILED", -6: "VK_ERROR_LAYER_NOT_PRESENT",
	-7: "VK_ERROR_EXTENSION_NOT_PRESENT", -8: "VK_ERROR_FEATURE_NOT_PRESENT", -9: "VK_ERROR_INCOMPATIBLE_DRIVER",
	-10: "VK_ERROR_TOO_MANY_OBJECTS", -12: "VK_ERROR_FRAGMENTED_POOL", -13: "VK_ERROR_UNKNOWN",
	-1000069000: "VK_ERROR_OUT_OF_POOL_MEMORY", -1000072003: "VK_ERROR_INVALID_EXTERNAL_HANDLE",
	-1000012000: "VK_ERROR_INVALID_SHADER_NV", -1000257000: "VK_ERROR_INVALID_OPAQUE_CAPTURE_ADDRESS",
}

func (r Result) String() string {
	if s, ok := resultNames[r]; ok {
		return s
	}
	return fmt.Sprintf("VkResult %d", int32(r))
}

// Error is a Vulkan call that failed. It unwraps to ErrDeviceLost or ErrOutOfMemory where the result says so.
type Error struct {
	Call     string   // "vkQueueSubmit"
	Result   Result   // what it returned
	Detail   string   // what was attempted, such as a size or the name of a shader; may be empty
	InFlight []string // of a lost device: the labels of the calls that had been submitted and not yet finished
}

func (e *Error) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "vk: %s: %s", e.Call, e.Result)
	if e.Detail != "" {
		s.WriteString(": " + e.Detail)
	}
	if n := len(e.InFlight); n > 0 {
		const shown = 8
		fmt.Fprintf(&s, "; in flight: %s", strings.Join(e.InFlight[:min(n, shown)], ", "))
		if n > shown {
			fmt.Fprintf(&s, " and %d more", n-shown)
		}
	}
	return s.String()
}

// Unwrap gives the sentinel of the result, or nil.
func (e *Error) Unwrap() error {
	switch e.Result {
	case DeviceLost:
		return ErrDeviceLost
	case OutOfHostMemory, OutOfDeviceMemory, Result(vulkan.ErrorOutOfPoolMemory), Result(vulkan.ErrorFragmentedPool):
		return ErrOutOfMemory
	}
	return nil
}

// MemoryError says that a buffer does not fit. It unwraps to ErrOutOfMemory.
type MemoryError struct {
	Buffer string // name
	Want   int64  // bytes asked for
	Used   int64  // bytes this device already gave
	Limit  int64  // bytes it may give: Limits.Heap, or Limits.MaxAllocation if one allocation is too large
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("vk: buffer %s: out of memory: want %d bytes, %d are in use, limit %d; a smaller batch or image size needs less",
		e.Buffer, e.Want, e.Used, e.Limit)
}

// Unwrap gives ErrOutOfMemory.
func (e *MemoryError) Unwrap() error { return ErrOutOfMemory }

// UnsupportedError says that the device lacks something that the work needs.
type UnsupportedError struct {
	What  string // what was to be done: "shader conv_fwd_f16"
	Needs string // what the device lacks: "shaderFloat16", "a workgroup of 1024 invocations (it has 128)"
}

func (e *UnsupportedError) Error() string {
	return "vk: " + e.What + " needs " + e.Needs + ", which the device lacks"
}

// ValidationError carries messages of the validation layer. It unwraps to ErrValidation.
type ValidationError struct {
	Call     string // the Vulkan call after which they were found
	Messages []string
}

func (e *ValidationError) Error() string {
	return "vk: " + e.Call + ": validation: " + strings.Join(e.Messages, "\n")
}

// Unwrap gives ErrValidation.
func (e *ValidationError) Unwrap() error { return ErrValidation }
