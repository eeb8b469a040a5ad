package shadertest_test

import (
	"testing"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// axpy is the Go function that shaders/example_axpy.comp has to equal: y + a*x.
func axpy(a float32, x, y []float32) []float64 {
	want := make([]float64, len(y))
	for i := range want {
		want[i] = float64(y[i]) + float64(a)*float64(x[i])
	}
	return want
}

// axpyTest is what would be TestAxpy in a _test.go file of yours.
func axpyTest(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, n := range []int{1, 63, 64, 65, 1009} {
			xs, ys := shadertest.Rand(1, n), shadertest.Rand(2, n)
			c := shadertest.New(t, dev)
			x, y := c.Input(xs), c.InOut(ys)
			c.Run(func(rec *vk.Recorder) {
				spec := shaders.ExampleAxpySpec{LocalX: 64}
				push := shaders.ExampleAxpyParams{N: uint32(n), A: 0.7}
				rec.Dispatch(vk.Call{
					Shader: &shaders.ExampleAxpy,
					Spec:   spec.Words(),
					Push:   push.Bytes(),
					Bind:   shaders.ExampleAxpyBindings{X: x.Range(), Y: y.Range()}.Ranges(),
					Groups: [3]uint32{(uint32(n) + spec.LocalX - 1) / spec.LocalX, 1, 1},
					Label:  "axpy",
				})
			})
			shadertest.Compare(t, "y", y.Float32s(), axpy(0.7, xs, ys), shadertest.Tol{NMSE: 1e-12})
		}
	})
}

// A GLSL shader against a Go function, on every device of the machine. The shader and its typed Go contract come from
// tools/glslc, which takes any folder with a variants.toml.
func Example() {
	_ = axpyTest
}
