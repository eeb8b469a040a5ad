package selftest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// bed holds the buffers of one case and what went wrong in it. Outputs start as NaN and lie between guards; the first
// error of the device ends the case, wrong numbers are collected.
type bed struct {
	ctx    context.Context
	dev    *vk.Device
	elem   kernels.Elem // of activations and their gradients
	random *rand.Rand
	bufs   []*buffer
	used   map[string]bool // shaders that ran
	nmse   float64         // the largest so far
	wrong  []string
	lacks  error // why a variant cannot run here
	err    error
}

// guardBytes before and after every buffer; a multiple of any offset alignment.
const guardBytes = 256

const (
	guardWord  = 0x7fc0dead // a NaN: what is read from outside a buffer spoils the result
	outputWord = 0x7fc00bad // a NaN: an output that nobody wrote
)

// buffer is device memory between two guards.
type buffer struct {
	b     *bed
	mem   *vk.Buffer
	start []byte
}

// rng is the data of the buffer; the zero Range of a nil buffer.
func (x *buffer) rng() vk.Range {
	if x == nil || x.mem == nil {
		return vk.Range{}
	}
	return x.mem.Range().Slice(guardBytes, int64(len(x.start))-2*guardBytes)
}

// words makes a buffer of 32-bit words.
func (b *bed) words(words []uint32) *buffer {
	x := &buffer{b: b}
	for range guardBytes / 4 {
		x.start = binary.LittleEndian.AppendUint32(x.start, guardWord)
	}
	for _, w := range words {
		x.start = binary.LittleEndian.AppendUint32(x.start, w)
	}
	x.start = append(x.start, x.start[:guardBytes]...)
	if b.err == nil {
		x.mem, b.err = b.dev.NewBuffer("self-test", int64(len(x.start)), vk.DeviceMemory)
	}
	b.bufs = append(b.bufs, x)
	return x
}

// floats makes a buffer of numbers.
func (b *bed) floats(x []float64) *buffer {
	words := make([]uint32, len(x))
	for i, v := range x {
		words[i] = math.Float32bits(float32(v))
	}
	return b.words(words)
}

// output makes a buffer of n words that nobody wrote yet.
func (b *bed) output(n int) *buffer {
	words := make([]uint32, n)
	for i := range words {
		words[i] = outputWord
	}
	return b.words(words)
}

// outputBytes is output of a size in bytes; nil for none.
func (b *bed) outputBytes(n int64) *buffer {
	if n == 0 {
		return nil
	}
	return b.output(int((n + 3) / 4))
}

// uniform draws n float32 numbers from [lo, hi).
func (b *bed) uniform(n int, lo, hi float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = float64(float32(lo + (hi-lo)*b.random.Float64()))
	}
	return x
}

// input makes a buffer of n random numbers if it is wanted.
func (b *bed) input(want bool, n int, lo, hi float64) (vk.Range, []float64) {
	if !want {
		return vk.Range{}, nil
	}
	x := b.uniform(n, lo, hi)
	return b.floats(x).rng(), x
}

// activation is input of the bed's element type: the numbers are those that it can hold.
func (b *bed) activation(want bool, n int, lo, hi float64) (vk.Range, []float64) {
	if !want {
		return vk.Range{}, nil
	}
	x := make([]float32, n)
	for i, v := range b.uniform(n, lo, hi) {
		x[i] = float32(v)
	}
	data := b.elem.Append(nil, x)
	size := int64(len(data))
	words := make([]uint32, (size+3)/4)
	data = append(data, 0, 0)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	return b.words(words).rng().Slice(0, size), wide(b.elem.Decode(data[:size]))
}

// activations makes an output of n of them, which readActivations reads.
func (b *bed) activations(n int) *buffer { return b.outputBytes(int64(n) * b.elem.Bytes()) }

func (x *buffer) readActivations(n int) []float64 {
	data := x.bytes()[guardBytes:]
	return wide(x.b.elem.Decode(data[:int64(n)*x.b.elem.Bytes()]))
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// batchNorm makes a bn buffer [6][C]; rstd is positive.
func (b *bed) batchNorm(want bool, c int) (vk.Range, []float64) {
	if !want {
		return vk.Range{}, nil
	}
	x := b.uniform(6*c, -1, 1)
	copy(x[3*c:4*c], b.uniform(c, 0.5, 2))
	return b.floats(x).rng(), x
}

// tensor makes a tensor [N HW C] with what p names pending on it.
func (b *bed) tensor(p kernels.Pending, n, hw, c int) (t kernels.Tensor, want ref.Tensor) {
	t.Raw, want.Raw = b.activation(true, n*hw*c, -2, 2)
	t.BN, want.BN = b.batchNorm(p.BN, c)
	t.Gate, want.Gate = b.input(p.Gate, n*c, 0, 1)
	return t, want
}

// grad makes the parts of a gradient [N PQ K] that in names.
func (b *bed) grad(in kernels.GradIn, n, pq, k int) (g kernels.Grad, want ref.Grad) {
	needsY := in.BN || in.Act != kernels.NoAct
	g.G, want.G = b.activation(!in.NoG, n*pq*k, -1, 1)
	g.Y, want.Y = b.activation(needsY, n*pq*k, -2, 2)
	g.BN, want.BN = b.batchNorm(needsY, k)
	g.Keep, want.Keep = b.input(in.Keep, n, 0, 1.5)
	g.Gate, want.Gate = b.input(in.Gate && !in.NoG, n*k, 0, 1)
	g.E, want.E = b.input(in.Gate, n*k, -1, 1)
	return g, want
}

// sinkBuffers are what a sink reads and writes.
type sinkBuffers struct {
	kernels.SinkArgs
	dx, sums *buffer
	want     ref.SinkArgs
}

func (b *bed) sink(s kernels.Sink, n, hw, c int, sumsBytes int64) sinkBuffers {
	takesSums := s.Sums || s.SE || s.Act != kernels.NoAct
	var a sinkBuffers
	a.SinkArgs.Add, a.want.Add = b.activation(s.Add, n*hw*c, -1, 1)
	a.SinkArgs.Y, a.want.Y = b.activation(takesSums, n*hw*c, -2, 2)
	a.SinkArgs.BN, a.want.BN = b.batchNorm(takesSums, c)
	a.SinkArgs.Keep, a.want.Keep = b.input(s.Keep, n, 0, 1.5)
	a.dx, a.sums = b.activations(n*hw*c), b.outputBytes(sumsBytes)
	a.SinkArgs.DX, a.SinkArgs.Sums = a.dx.rng(), a.sums.rng()
	return a
}

// compareSink holds what a sink wrote of du [N HW C] against the twin.
func (b *bed) compareSink(s kernels.Sink, du []float64, a sinkBuffers, n, hw, c, parts int) {
	dx, sums := ref.Sink(s, du, a.want, n, hw, c)
	b.compare("dx", a.dx.readActivations(len(dx)), dx)
	if sums == nil {
		return
	}
	images := 1
	if s.SE {
		images = n
	}
	b.compare("sums", ref.MergeSums(a.sums.read(), images, parts, len(sums)/images), sums)
}

// compareStats holds partial statistics against those of y [rows][C].
func (b *bed) compareStats(stats *buffer, parts int, y []float64, c int) {
	b.compare("statistics", ref.MergeStats(stats.read(), parts, c), ref.Stats(y, c))
}

// run records f and runs it. Nothing happens after an error.
func (b *bed) run(f func(*vk.Recorder)) {
	if b.err != nil {
		return
	}
	rec := b.dev.NewRecorder("self-test")
	f(rec)
	for _, c := range rec.Calls() {
		b.used[c.Shader] = true
	}
	p, err := rec.Build(b.ctx, &vk.BuildOptions{Budget: time.Minute}) // CPU drivers compile in the first call: no warning
	if err != nil {
		b.err = err
		return
	}
	defer p.Release()
	for _, x := range b.bufs {
		if b.err = b.dev.Upload(x.mem.Range(), x.start); b.err != nil {
			return
		}
	}
	if b.err = p.Run(b.ctx); b.err != nil {
		return
	}
	for _, x := range b.bufs {
		b.checkGuards(x)
	}
}

// checkGuards reports writes outside a buffer.
func (b *bed) checkGuards(x *buffer) {
	data := x.bytes()
	if b.err != nil {
		return
	}
	n := len(data)
	if !bytes.Equal(data[:guardBytes], x.start[:guardBytes]) || !bytes.Equal(data[n-guardBytes:], x.start[n-guardBytes:]) {
		b.wrong = append(b.wrong, "memory beside a buffer was overwritten")
		b.nmse = math.Inf(1)
	}
}

// bytes downloads the buffer with its guards.
func (x *buffer) bytes() []byte {
	data := make([]byte, len(x.start))
	if x.b.err == nil {
		x.b.err = x.b.dev.Download(x.mem.Range(), data)
	}
	return data
}

// read downloads the numbers.
func (x *buffer) read() []float64 {
	data := x.bytes()
	data = data[guardBytes : len(data)-guardBytes]
	out := make([]float64, len(data)/4)
	for i := range out {
		out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
	}
	return out
}

// limits of a result: the normalised mean squared error, and the error of one element beside its size and the root mean
// square of all. Float32 sums of these lengths stay three orders below; what is stored in 16 bits may be rounded toward zero,
// and operands of cooperative matrices are.
var (
	maxNMSE  = map[kernels.Elem]float64{kernels.F32: 1e-9, kernels.F16: 1e-6, kernels.BF16: 6e-5}
	maxError = map[kernels.Elem]float64{kernels.F32: 1e-3, kernels.F16: 0x1p-8, kernels.BF16: 0x1p-5}
)

// compare notes how far got is from want.
func (b *bed) compare(what string, got, want []float64) {
	if b.err != nil {
		return
	}
	if len(got) < len(want) {
		b.err = fmt.Errorf("selftest: internal error: %s has %d elements, want %d", what, len(got), len(want))
		return
	}
	var num, den float64
	for i, w := range want {
		d := got[i] - w
		num += d * d
		den += w * w
	}
	nmse := num
	if den > 0 {
		nmse = num / den
	}
	if math.IsNaN(nmse) {
		nmse = math.Inf(1)
	}
	b.nmse = max(b.nmse, nmse)
	rms := math.Sqrt(den / float64(len(want)))
	for i, w := range want {
		if d := math.Abs(got[i] - w); !(d <= maxError[b.elem]*(math.Abs(w)+rms)) {
			b.wrong = append(b.wrong, fmt.Sprintf("%s[%d] is %.7g, want %.7g", what, i, got[i], w))
			return
		}
	}
	if nmse > maxNMSE[b.elem] {
		b.wrong = append(b.wrong, fmt.Sprintf("%s has an NMSE of %.2g, want at most %.0e", what, nmse, maxNMSE[b.elem]))
	}
}

// release frees the buffers of a case.
func (b *bed) release() {
	for _, x := range b.bufs {
		x.mem.Release()
	}
	b.bufs = nil
}

// made keeps the first error of a kernel's construction and reports whether there is none. A variant that the device cannot
// run is no error: nothing chooses it here.
func (b *bed) made(err error) bool {
	var unsupported *vk.UnsupportedError
	switch {
	case b.err != nil:
	case errors.As(err, &unsupported):
		b.lacks = err
	default:
		b.err = err
	}
	return err == nil && b.err == nil
}
