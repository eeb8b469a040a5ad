package kernels_test

import (
	"fmt"
	"testing"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// convBenches are dense convolutions of EfficientNetV2-B0: the stem, fused expansions, projections and expansions of a
// training step of 8 images of 64x64, and of one image of 224x224. act and gate say what is pending on the input.
var convBenches = []struct {
	n, size, c, k, r, stride int
	act, gate                bool
}{
	{8, 64, 3, 32, 3, 2, false, false},
	{8, 32, 32, 16, 3, 1, false, false},
	{8, 32, 16, 64, 3, 2, false, false},
	{8, 16, 32, 128, 3, 1, false, false},
	{8, 16, 128, 32, 1, 1, true, false},
	{8, 8, 48, 192, 1, 1, false, false},
	{8, 4, 384, 96, 1, 1, true, true},
	{8, 4, 672, 112, 1, 1, true, true},
	{8, 2, 1152, 192, 1, 1, true, true},
	{8, 2, 192, 1152, 1, 1, false, false},
	{8, 1, 1280, 1000, 1, 1, false, false},
	{1, 224, 3, 32, 3, 2, false, false},
	{1, 56, 32, 128, 3, 1, false, false},
	{1, 14, 672, 112, 1, 1, true, true},
	{1, 7, 192, 1152, 1, 1, false, false},
	{1, 1, 1280, 1000, 1, 1, false, false},
}

func BenchmarkConv(b *testing.B) {
	benchmarkOn(b, func(b *testing.B, dev *vk.Device) {
		for _, s := range convBenches {
			c := kernels.NewConv(s.n, s.size, s.size, s.c, s.k, s.r, s.stride, kernels.PadTorch)
			x, y, w := c.XBytes()/4, c.YBytes()/4, c.WBytes()/4
			in := kernels.Pending{BN: s.act, Gate: s.gate}
			sink := kernels.Sink{}
			if s.act {
				in.Act = kernels.SiLU
				sink = kernels.Sink{Act: kernels.SiLU, SE: s.gate}
			}
			dy := kernels.GradIn{BN: true}
			tensor := func(b *testing.B) kernels.Tensor {
				return kernels.Tensor{Raw: benchRange(b, dev, x), BN: benchRange(b, dev, 6*int64(c.C)),
					Gate: benchRange(b, dev, int64(c.N*c.C))}
			}
			grad := func(b *testing.B) kernels.Grad {
				return kernels.Grad{G: benchRange(b, dev, y), Y: benchRange(b, dev, y), BN: benchRange(b, dev, 6*int64(c.K))}
			}
			for _, variant := range convVariants {
				if !runsConv(dev, variant) || variant == "coopmat" && c.C%8 != 0 {
					continue
				}
				c, in, dy := c, in, dy
				switch variant {
				case "uniform":
					in, dy = kernels.Pending{}, kernels.GradIn{}
				case "coopmat":
					c.Elem = coopElems(dev)[0]
				}
				name := func(pass string) string {
					return fmt.Sprintf("pass=%s/shape=n%dh%dw%dc%dk%dr%d/stride=%d/in=%s/type=%s/variant=%s",
						pass, c.N, c.H, c.W, c.C, c.K, c.R, c.Stride, flags(in), c.Elem, variant)
				}
				b.Run(name("fwd"), func(b *testing.B) {
					op, err := kernels.NewConvFwd(dev, kernels.ConvFwdConfig{Conv: c, In: in, Stats: true, Variant: variant})
					if err != nil {
						b.Fatal(err)
					}
					a := kernels.ConvFwdArgs{X: tensor(b), WT: benchRange(b, dev, w), Y: benchRange(b, dev, y),
						Stats: benchRange(b, dev, op.StatsBytes()/4)}
					benchmark(b, dev, func(rec *vk.Recorder) { op.Record(rec, a) })
				})
				if c.C%8 == 0 {
					b.Run(name("dgrad"), func(b *testing.B) {
						op, err := kernels.NewConvDgrad(dev, kernels.ConvDgradConfig{Conv: c, DY: dy, Sink: sink, Variant: variant})
						if err != nil {
							b.Fatal(err)
						}
						in := tensor(b)
						a := kernels.ConvDgradArgs{DY: grad(b), W: benchRange(b, dev, w),
							Sink: kernels.SinkArgs{DX: benchRange(b, dev, x), Y: in.Raw, BN: in.BN, Sums: benchRange(b, dev, op.SumsBytes()/4)}}
						benchmark(b, dev, func(rec *vk.Recorder) { op.Record(rec, a) })
					})
				}
				if variant == "uniform" && c.C%8 != 0 {
					continue
				}
				b.Run(name("wgrad"), func(b *testing.B) {
					op, err := kernels.NewConvWgrad(dev, kernels.ConvWgradConfig{Conv: c, DY: dy, In: in, Variant: variant})
					if err != nil {
						b.Fatal(err)
					}
					a := kernels.ConvWgradArgs{DY: grad(b), X: tensor(b), DW: benchRange(b, dev, w),
						Scratch: benchRange(b, dev, op.ScratchBytes()/4)}
					benchmark(b, dev, func(rec *vk.Recorder) { op.Record(rec, a) })
				})
			}
		}
	})
}
