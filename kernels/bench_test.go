package kernels_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// benchmarkOn runs f as a sub-benchmark on every device.
func benchmarkOn(b *testing.B, f func(b *testing.B, dev *vk.Device)) {
	for _, dev := range shadertest.Devices(b) {
		info := dev.Info()
		fmt.Printf("vk-device: %s\nvk-driver: %s\n", info.Name, info.Driver)
		f(b, dev)
	}
}

// benchmark replays what record appends and reports the median of the device times of a replay, and the rate of the
// floating-point operations that the calls declare.
func benchmark(b *testing.B, dev *vk.Device, record func(rec *vk.Recorder)) {
	b.Helper()
	ctx := context.Background()
	rec := dev.NewRecorder(b.Name())
	record(rec)
	p, err := rec.Build(ctx, &vk.BuildOptions{Timestamps: true})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Release()
	var flops int64
	for _, c := range rec.Calls() {
		flops += c.FLOPs
	}
	run := func() float64 {
		if err := p.Run(ctx); err != nil {
			b.Fatal(err)
		}
		times, err := p.Times()
		if err != nil {
			b.Fatal(err)
		}
		var sum time.Duration
		for _, t := range times {
			sum += t
		}
		return float64(sum)
	}
	for range 3 {
		run()
	}
	var ns []float64
	for range b.N {
		ns = append(ns, run())
	}
	slices.Sort(ns)
	median := ns[len(ns)/2]
	b.ReportMetric(median, "gpu-ns/op")
	b.ReportMetric(float64(flops)/median, "GFLOP/s")
}

// benchRange is a buffer of n floats.
func benchRange(b *testing.B, dev *vk.Device, n int64) vk.Range {
	b.Helper()
	if n == 0 {
		return vk.Range{}
	}
	buf, err := dev.NewBuffer(b.Name(), 4*n, vk.DeviceMemory)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(buf.Release)
	return buf.Range()
}

// depthwiseBenches are the depthwise convolutions of EfficientNetV2-B0: a training step of 8 images of 64x64, and one
// image of 224x224.
var depthwiseBenches = []struct {
	n, size, c, stride int
}{
	{8, 8, 192, 2}, {8, 4, 384, 1}, {8, 4, 480, 1}, {8, 4, 672, 1}, {8, 4, 672, 2}, {8, 2, 1152, 1},
	{1, 28, 192, 2}, {1, 14, 384, 1}, {1, 14, 480, 1}, {1, 14, 672, 1}, {1, 14, 672, 2}, {1, 7, 1152, 1},
}

func BenchmarkDepthwise(b *testing.B) {
	silu := kernels.Pending{BN: true, Act: kernels.SiLU}
	gated := kernels.GradIn{BN: true, Gate: true, Act: kernels.SiLU}
	benchmarkOn(b, func(b *testing.B, dev *vk.Device) {
		for _, s := range depthwiseBenches {
			c := kernels.NewConv(s.n, s.size, s.size, s.c, s.c, 3, s.stride, kernels.PadTorch)
			x, y, ch, nc := c.XBytes()/4, c.YBytes()/4, int64(c.C), int64(c.N*c.C)
			tensor := func(b *testing.B) kernels.Tensor {
				return kernels.Tensor{Raw: benchRange(b, dev, x), BN: benchRange(b, dev, 6*ch)}
			}
			grad := func(b *testing.B) kernels.Grad {
				return kernels.Grad{G: benchRange(b, dev, y), Y: benchRange(b, dev, y), BN: benchRange(b, dev, 6*ch),
					Gate: benchRange(b, dev, nc), E: benchRange(b, dev, nc)}
			}
			shape := fmt.Sprintf("shape=n%dh%dw%dc%dr3/stride=%d", c.N, c.H, c.W, c.C, c.Stride)
			b.Run("pass=fwd/"+shape, func(b *testing.B) {
				op, err := kernels.NewDepthwiseFwd(dev, kernels.DepthwiseFwdConfig{Conv: c, In: silu, Stats: true})
				if err != nil {
					b.Fatal(err)
				}
				a := kernels.DepthwiseFwdArgs{X: tensor(b), W: benchRange(b, dev, 9*ch), Y: benchRange(b, dev, y),
					Stats: benchRange(b, dev, op.StatsBytes()/4)}
				benchmark(b, dev, func(rec *vk.Recorder) { op.Record(rec, a) })
			})
			b.Run("pass=dgrad/"+shape, func(b *testing.B) {
				op, err := kernels.NewDepthwiseDgrad(dev, kernels.DepthwiseDgradConfig{Conv: c, DY: gated, Sink: kernels.Sink{Act: kernels.SiLU}})
				if err != nil {
					b.Fatal(err)
				}
				in := tensor(b)
				a := kernels.DepthwiseDgradArgs{DY: grad(b), W: benchRange(b, dev, 9*ch),
					Sink: kernels.SinkArgs{DX: benchRange(b, dev, x), Y: in.Raw, BN: in.BN, Sums: benchRange(b, dev, op.SumsBytes()/4)}}
				benchmark(b, dev, func(rec *vk.Recorder) { op.Record(rec, a) })
			})
			b.Run("pass=wgrad/"+shape, func(b *testing.B) {
				op, err := kernels.NewDepthwiseWgrad(dev, kernels.DepthwiseWgradConfig{Conv: c, DY: gated, In: silu})
				if err != nil {
					b.Fatal(err)
				}
				a := kernels.DepthwiseWgradArgs{DY: grad(b), X: tensor(b), DW: benchRange(b, dev, 9*ch),
					Scratch: benchRange(b, dev, op.ScratchBytes()/4)}
				benchmark(b, dev, func(rec *vk.Recorder) { op.Record(rec, a) })
			})
		}
	})
}
