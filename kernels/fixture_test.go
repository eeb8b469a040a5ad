package kernels_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

func TestMain(m *testing.M) { os.Exit(shadertest.Main(m)) }

// variants are the two ways in which kernels over channels cut up their work.
var variants = []string{"narrow", "wide"}

// fixture makes the random buffers of a case, each with what the float64 twin gets.
type fixture struct {
	*shadertest.Case
	elem   kernels.Elem // of activations and their gradients
	rounds bool         // what is multiplied is rounded to elem before
	seed   uint64
}

func newFixture(t testing.TB, dev *vk.Device) *fixture {
	return &fixture{Case: shadertest.New(t, dev), seed: 1}
}

// random is an input of n numbers in [lo, hi) if it is wanted, else the zero Range and nil.
func (f *fixture) random(want bool, n int, lo, hi float32) (vk.Range, []float64) {
	if !want {
		return vk.Range{}, nil
	}
	f.seed++
	x := shadertest.RandIn(f.seed, n, lo, hi)
	return f.Input(x).Range(), shadertest.Float64s(x)
}

// activation is random of the fixture's element type; the twin gets the rounded numbers.
func (f *fixture) activation(want bool, n int, lo, hi float32) (vk.Range, []float64) {
	if !want {
		return vk.Range{}, nil
	}
	f.seed++
	b := f.elem.Append(nil, shadertest.RandIn(f.seed, n, lo, hi))
	size := int64(len(b))
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return f.InputBytes(b).Range().Slice(0, size), shadertest.Float64s(f.elem.Decode(b[:size]))
}

// activationOutput is an output of n activations, which outputs reads.
func (f *fixture) activationOutput(n int) *shadertest.Buf {
	return f.OutputBytes(int64(n) * f.elem.Bytes())
}

func (f *fixture) activations(b *shadertest.Buf, n int) []float32 {
	return f.elem.Decode(b.Bytes()[:int64(n)*f.elem.Bytes()])
}

// tolerance is tol widened by the rounding of stored activations: half a unit in the last place where the conversion
// rounds to nearest, a whole one at most, as Vulkan leaves the rounding to the driver.
func (f *fixture) tolerance(tol shadertest.Tol) shadertest.Tol {
	switch f.elem {
	case kernels.F16:
		tol.NMSE, tol.Elem = 2.4e-7, 1.05/1024
	case kernels.BF16:
		tol.NMSE, tol.Elem = 1.6e-5, 1.05/256
	}
	return tol
}

// operand is what a kernel multiplies in place of x, which it computed in float32.
func (f *fixture) operand(x []float64) []float64 {
	if !f.rounds {
		return x
	}
	return shadertest.Float64s(f.elem.Decode(f.elem.Append(nil, float32s(x))))
}

// sums is tol for float32 sums of products of operands, of which one that lies half-way between two stored numbers may be
// rounded to the other one than the twin's: seldom, by a unit in its last place.
func (f *fixture) sums(tol shadertest.Tol) shadertest.Tol {
	switch {
	case f.rounds && f.elem == kernels.F16:
		tol.NMSE, tol.Elem = 1e-9, 1.0/1024
	case f.rounds:
		tol.NMSE, tol.Elem = 6e-8, 1.0/128
	}
	return tol
}

// eachElem runs f for every element type that the device stores.
func eachElem(t *testing.T, dev *vk.Device, f func(t *testing.T, e kernels.Elem)) {
	for _, e := range []kernels.Elem{kernels.F32, kernels.F16, kernels.BF16} {
		if e.Check(dev) == nil {
			t.Run(e.String(), func(t *testing.T) { f(t, e) })
		}
	}
}

// bn is a batch norm buffer [6][C] with scales of both signs.
func (f *fixture) bn(want bool, c int) (vk.Range, []float64) {
	if !want {
		return vk.Range{}, nil
	}
	f.seed++
	x := shadertest.RandIn(f.seed, 6*c, -1, 1)
	for i := 3 * c; i < 4*c; i++ {
		x[i] = 1.25 + x[i]/2 // rstd
	}
	return f.Input(x).Range(), shadertest.Float64s(x)
}

// tensor is a tensor [N HW C] with everything that p names pending on it.
func (f *fixture) tensor(p kernels.Pending, n, hw, c int) (t kernels.Tensor, want ref.Tensor) {
	t.Raw, want.Raw = f.activation(true, n*hw*c, -2, 2)
	t.BN, want.BN = f.bn(p.BN, c)
	t.Gate, want.Gate = f.random(p.Gate, n*c, 0, 1)
	return t, want
}

// grad is the parts of a gradient [N PQ K] that in names.
func (f *fixture) grad(in kernels.GradIn, n, pq, k int) (g kernels.Grad, want ref.Grad) {
	needsY := in.BN || in.Act != kernels.NoAct
	g.G, want.G = f.activation(!in.NoG, n*pq*k, -1, 1)
	g.Y, want.Y = f.activation(needsY, n*pq*k, -2, 2)
	g.BN, want.BN = f.bn(needsY, k)
	g.Keep, want.Keep = f.random(in.Keep, n, 0, 1.5)
	g.Gate, want.Gate = f.random(in.Gate && !in.NoG, n*k, 0, 1)
	g.E, want.E = f.random(in.Gate, n*k, -1, 1)
	return g, want
}

// sink is what s reads for a tensor [N HW C], and outputs for dx and sumsBytes of sums.
func (f *fixture) sink(s kernels.Sink, n, hw, c int, sumsBytes int64) (a kernels.SinkArgs, dx, sums *shadertest.Buf, want ref.SinkArgs) {
	takesSums := s.Sums || s.SE || s.Act != kernels.NoAct
	a.Add, want.Add = f.activation(s.Add, n*hw*c, -1, 1)
	a.Y, want.Y = f.activation(takesSums, n*hw*c, -2, 2)
	a.BN, want.BN = f.bn(takesSums, c)
	a.Keep, want.Keep = f.random(s.Keep, n, 0, 1.5)
	dx, sums = f.activationOutput(n*hw*c), f.OutputBytes(sumsBytes)
	a.DX, a.Sums = dx.Range(), sums.Range()
	return a, dx, sums, want
}

// compareSink holds dx and the sums against the twin's for du [N HW C].
func (f *fixture) compareSink(t *testing.T, s kernels.Sink, du []float64, a ref.SinkArgs, n, hw, c, parts int, dx, sums *shadertest.Buf) {
	t.Helper()
	wantDX, wantSums := ref.Sink(s, du, a, n, hw, c)
	shadertest.Compare(t, "dx", f.activations(dx, n*hw*c), wantDX, f.tolerance(shadertest.Tol{NMSE: 1e-12, Shape: []int{n, hw, c}}))
	if wantSums == nil {
		return
	}
	images, row := 1, 2*c
	if s.SE {
		images, row = n, 3*c
	}
	got := ref.MergeSums(shadertest.Float64s(sums.Float32s()), images, parts, row)
	shadertest.Compare(t, "sums", float32s(got), wantSums, f.sums(shadertest.Tol{NMSE: 1e-10, Shape: []int{images, row / c, c}}))
}

func float32s(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}

// flags names the set fields of a struct of bools and activations: "BN+Act".
func flags[T any](v T) string {
	var on []string
	for _, f := range strings.Fields(strings.Trim(fmt.Sprintf("%+v", v), "{}")) {
		if name, value, _ := strings.Cut(f, ":"); value == "true" || value == "1" {
			on = append(on, name)
		}
	}
	if len(on) == 0 {
		return "plain"
	}
	return strings.Join(on, "+")
}
