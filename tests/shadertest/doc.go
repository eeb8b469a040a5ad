// Package shadertest tests compute shaders: it runs one on every Vulkan device of the machine and compares what it
// wrote with a Go function. The kernels of this module are tested with it, and a shader of your own can be.
//
//	func TestAxpy(t *testing.T) {
//		shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
//			c := shadertest.New(t, dev)
//			x := c.Input(shadertest.Rand(1, 1000))
//			y := c.Output(1000)
//			c.Run(func(rec *vk.Recorder) { ... rec.Dispatch(...) ... })
//			shadertest.Compare(t, "y", y.Float32s(), want, shadertest.Tol{NMSE: 1e-7})
//		})
//	}
//
// A [Case] surrounds each buffer with guard words, starts outputs as NaN, runs what was recorded three times from the
// same state, and fails the test when a guard or an input has changed or when the runs differ in a single bit.
//
// # Environment
//
//   - VKEFFNET_TEST_DEVICE: only devices with this index, UUID, or part of the name; empty: all that can be used.
//   - VKEFFNET_TEST_LOWER=1: open them with the smallest limits that Vulkan allows (see [LowerLimits]) and without
//     subgroup operations.
//   - VKEFFNET_TEST_VALIDATE=1: open them with the validation layer; a message fails the test.
//
// Which drivers are visible is the Vulkan loader's choice: VK_ICD_FILENAMES or VK_DRIVER_FILES. A test that finds no
// device fails: it is never skipped.
package shadertest
