package kernels

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// trialBuffers are the buffers of the trials of one operation. Variants share those of a name and size, so that inputs
// are the same for all.
type trialBuffers struct {
	dev  *vk.Device
	elem Elem
	bufs map[string]*vk.Buffer
	err  error // the first
}

func newTrialBuffers(dev *vk.Device, elem Elem) *trialBuffers {
	return &trialBuffers{dev: dev, elem: elem, bufs: map[string]*vk.Buffer{}}
}

func (b *trialBuffers) release() {
	for _, buf := range b.bufs {
		buf.Release()
	}
}

// buffer is a buffer that an operation writes; the zero Range for no bytes.
func (b *trialBuffers) buffer(name string, size int64) vk.Range {
	r, _ := b.get(name, size)
	return r
}

func (b *trialBuffers) get(name string, size int64) (r vk.Range, made bool) {
	if size == 0 || b.err != nil {
		return r, false
	}
	key := fmt.Sprintf("tuning %s %d", name, size)
	buf := b.bufs[key]
	if buf == nil {
		if buf, b.err = b.dev.NewBuffer(key, roundUp(size, 4), vk.DeviceMemory); b.err != nil {
			return r, false
		}
		b.bufs[key], made = buf, true
	}
	return buf.Range().Slice(0, size), made
}

// input is a buffer of float32 numbers, uniform in [-1, 1). They repeat with a prime period, which no row of channels has.
func (b *trialBuffers) input(name string, size int64) vk.Range { return b.random(name, size, F32) }

// activation is an input of the element type.
func (b *trialBuffers) activation(name string, size int64) vk.Range {
	return b.random(name, size, b.elem)
}

func (b *trialBuffers) random(name string, size int64, elem Elem) vk.Range {
	r, made := b.get(name, size)
	if !made {
		return r
	}
	var seed [32]byte
	copy(seed[:], name)
	random := rand.New(rand.NewChaCha8(seed))
	x := make([]float32, min(size/elem.Bytes(), 2*65521)) // even, so that pieces are of whole words
	for i := range x {
		if i < 65521 {
			x[i] = 2*random.Float32() - 1
		} else {
			x[i] = x[i-65521]
		}
	}
	piece := elem.Append(nil, x)
	for off := int64(0); off < size && b.err == nil; off += int64(len(piece)) {
		n := min(int64(len(piece)), size-off)
		b.err = b.dev.Upload(r.Slice(off, n), piece[:n])
	}
	return r
}

// tensor is a tensor [N ? ? C] of size bytes with what is pending on it.
func (b *trialBuffers) tensor(p Pending, size int64, n, c int) Tensor {
	return Tensor{Raw: b.activation("x", size), BN: b.input("x.bn", when(p.BN, 24*int64(c))), Gate: b.input("x.gate", when(p.Gate, 4*int64(n*c)))}
}

// grad is the parts of a gradient [N ? ? K] of size bytes.
func (b *trialBuffers) grad(g GradIn, size int64, n, k int) (d Grad) {
	for _, a := range g.arguments(&d, size, n, k) {
		if a.r == &d.G || a.r == &d.Y {
			*a.r = b.activation(a.name, a.size)
		} else {
			*a.r = b.input(a.name, a.size)
		}
	}
	return d
}

// sink is what s reads and writes for a tensor [N ? ? C] of size bytes.
func (b *trialBuffers) sink(s Sink, size int64, n, c int, sums int64) (a SinkArgs) {
	for _, arg := range s.arguments(&a, size, n, c, sums) {
		switch arg.r {
		case &a.DX, &a.Sums:
			*arg.r = b.buffer(arg.name, arg.size)
		case &a.Add, &a.Y:
			*arg.r = b.activation(arg.name, arg.size)
		default:
			*arg.r = b.input(arg.name, arg.size)
		}
	}
	return a
}

// sinkOutputs are the results of a sink.
func (b *trialBuffers) sinkOutputs(s Sink, a SinkArgs, n, c, parts int) []output {
	images, row := 1, 2*c
	if s.SE {
		images, row = n, 3*c
	}
	out := []output{{name: "dx", rng: a.DX, elem: b.elem}}
	if s.takesSums() {
		out = append(out, output{name: "sums", rng: a.Sums, merge: mergeSums(images, parts, row)})
	}
	return out
}

// bwdOutputs are the results of both gradients.
func (b *trialBuffers) bwdOutputs(s Sink, a SinkArgs, v Conv, parts int, dw vk.Range) []output {
	return append(b.sinkOutputs(s, a, v.N, v.C, parts), output{name: "dw", rng: dw})
}

// fwdOutputs are the results of a forward pass.
func (b *trialBuffers) fwdOutputs(y, stats vk.Range, parts, k int) []output {
	out := []output{{name: "y", rng: y, elem: b.elem}}
	if !stats.IsZero() {
		out = append(out, output{name: "stats", rng: stats, merge: mergeStats(parts, k)})
	}
	return out
}

// mergeStats returns the function that merges statistics [parts][2][c] (mean, M2), counts [parts] into [2][c].
// Method: Chan, Golub & LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample variances.
func mergeStats(parts, c int) func([]float64) []float64 {
	return func(x []float64) []float64 {
		y := make([]float64, 2*c)
		n := 0.0
		for part := range parts {
			m := x[parts*2*c+part]
			if m == 0 {
				continue
			}
			for i := range c {
				d := x[part*2*c+i] - y[i]
				y[i] += d * m / (n + m)
				y[c+i] += x[part*2*c+c+i] + d*d*n*m/(n+m)
			}
			n += m
		}
		return y
	}
}

// mergeSums returns the function that adds sums [images][parts][row] up to [images][row].
func mergeSums(images, parts, row int) func([]float64) []float64 {
	return func(x []float64) []float64 {
		y := make([]float64, images*row)
		for i := range images * parts * row {
			y[i/(parts*row)*row+i%row] += x[i]
		}
		return y
	}
}

// Of a result beyond so many bytes that many are compared, in windows that lie evenly over it.
const (
	compareBytes  = 16 << 20
	compareWindow = 256 << 10
)

// read downloads the numbers of an output that are compared.
func (o output) read(dev *vk.Device) ([]float64, error) {
	windows, size := int64(1), o.rng.Size
	if o.merge == nil && size > compareBytes {
		windows, size = compareBytes/compareWindow, compareWindow
	}
	data := make([]byte, size)
	x := make([]float64, 0, windows*size/o.elem.Bytes())
	for i := range windows {
		off := int64(0)
		if windows > 1 {
			off = (o.rng.Size - size) / (windows - 1) * i / 4 * 4
		}
		if err := dev.Download(o.rng.Slice(off, size), data); err != nil {
			return nil, err
		}
		for _, v := range o.elem.Decode(data) {
			x = append(x, float64(v))
		}
	}
	if o.merge != nil {
		x = o.merge(x)
	}
	return x, nil
}

// result is an output's numbers, merged.
type result struct {
	output
	x []float64
}

// trialResults runs an operation once on outputs that start as NaN of any element type and reads them.
func trialResults(ctx context.Context, dev *vk.Device, b *trialBuffers, c Tunable) ([]result, error) {
	record, outputs, err := c.trial(dev, b)
	if err != nil {
		return nil, err
	}
	rec := dev.NewRecorder("tuning " + c.op())
	for _, o := range outputs {
		rec.Fill(o.rng, ^uint32(0))
	}
	record(rec)
	p, err := rec.Build(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer p.Release()
	if err := p.Run(ctx); err != nil {
		return nil, err
	}
	var all []result
	for _, o := range outputs {
		x, err := o.read(dev)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.name, err)
		}
		all = append(all, result{o, x})
	}
	return all, nil
}

// compareResults returns an error if the results of a variant are not those wanted, within rounding. operands is the type to
// which coopmat rounds what it multiplies.
func compareResults(got, want []result, variant string, operands Elem) error {
	for i, w := range want {
		tolerance := w.elem.tolerance()
		if strings.HasPrefix(variant, convCoopmat) {
			tolerance += operandTolerance[operands]
		}
		if err := compare(got[i].x, w.x, tolerance); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return nil
}

// tolerance bounds |got - want| by its product with |want| + rms(want). Sums of up to 2^20 float32 terms in another order stay
// below 1e-4, and a tap, a row or a channel that is wrong does not; stored as 16 bits a number may round to its neighbour.
func (e Elem) tolerance() float64 {
	return [...]float64{F32: 1e-4, F16: 1e-4 + 1.0/1024, BF16: 1e-4 + 1.0/128}[e]
}

// operandTolerance is what rounded operands add to it: the errors of a sum's terms, each of rms 2^-11.3 of the term (bfloat16:
// 2^-8.3), add up as the terms themselves do, so that they are normal with that share of the results' rms. This is 8 times it.
var operandTolerance = map[Elem]float64{F16: 1.0 / 320, BF16: 1.0 / 40}

// compare returns an error if got is not want within tolerance.
func compare(got, want []float64, tolerance float64) error {
	if len(got) != len(want) {
		return fmt.Errorf("got %d numbers, want %d", len(got), len(want))
	}
	sum := 0.0
	for _, w := range want {
		sum += w * w
	}
	rms := math.Sqrt(sum / float64(max(len(want), 1)))
	for i, w := range want {
		if d := math.Abs(got[i] - w); !(d <= tolerance*(math.Abs(w)+rms)) { // also NaN
			return fmt.Errorf("number %d is %g, the reference's is %g", i, got[i], w)
		}
	}
	return nil
}
