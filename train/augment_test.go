package train_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/train"
)

// TestCrop checks for any image that a crop lies inside it, has about the wanted area and aspect ratio, and is the same
// when drawn again.
func TestCrop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(1, 400).Draw(t, "w"), rapid.IntRange(1, 400).Draw(t, "h")
		a := train.Augment{
			Seed:    rapid.Uint64().Draw(t, "seed"),
			AreaMin: rapid.Float64Range(0.01, 1).Draw(t, "area"), AreaMax: 1,
			AspectMin: 0.75, AspectMax: 4. / 3, Flip: true, Ops: 2,
		}
		at := train.StepSettings{Step: rapid.IntRange(0, 1e6).Draw(t, "step"), Magnitude: 10, Mixup: 0.2}
		image := rapid.IntRange(0, 1e6).Draw(t, "image")
		x, y, cw, ch, p := a.Draw(at, image, w, h)
		assert.True(t, x >= 0 && y >= 0 && cw >= 1 && ch >= 1 && x+cw <= w && y+ch <= h, "%d %d %d %d", x, y, cw, ch)
		assert.GreaterOrEqual(t, float64(cw*ch), a.AreaMin*float64(w*h))
		if cw != w || ch != h { // not the whole image, the answer when nothing fits
			assert.InDelta(t, float64(cw), a.AspectMax*float64(ch), 0.5+float64(ch)*(a.AspectMax-a.AspectMin))
		}
		assert.True(t, p.Lambda >= 0.5 && p.Lambda <= 1, "lambda %g", p.Lambda)
		x2, y2, cw2, ch2, p2 := a.Draw(at, image, w, h)
		assert.Equal(t, [4]int{x, y, cw, ch}, [4]int{x2, y2, cw2, ch2})
		assert.Equal(t, p, p2)
	})
}

// TestCropDistribution compares the mean area of crops of a large square, for a height uniform between sqrt(0.05/r) and
// sqrt(1/r) where that fits: TensorFlow's choice, whose mean area is well below torchvision's (0.05+1)/2.
func TestCropDistribution(t *testing.T) {
	const n, side = 20000, 1000
	a := train.Augment{AreaMin: 0.05, AreaMax: 1, AspectMin: 0.75, AspectMax: 1.33}
	var got, left float64
	for i := range n {
		x, _, w, h, _ := a.Draw(train.StepSettings{}, i, side, side)
		got += float64(w*h) / side / side
		if w < side {
			left += float64(x) / float64(side-w)
		}
	}
	want := 0.0
	const grid = 2000
	for i := range grid {
		r := 0.75 + (1.33-0.75)*(float64(i)+0.5)/grid
		lo, hi := math.Sqrt(0.05/r), min(math.Sqrt(1/r), 1, 1/r)
		want += r * (lo*lo + lo*hi + hi*hi) / 3 / grid // the mean of r*height^2
	}
	assert.InDelta(t, want, got/n, 0.01)
	assert.InDelta(t, 0.5, left/n, 0.02, "places are uniform")
}

func TestNoAugmentation(t *testing.T) {
	var a train.Augment
	x, y, w, h, p := a.Draw(train.StepSettings{}, 3, 40, 30)
	assert.Equal(t, [4]int{0, 0, 40, 30}, [4]int{x, y, w, h})
	assert.Equal(t, kernels.ImageRow{Lambda: 1}, p)
}

func TestRandAugment(t *testing.T) {
	for _, size := range []int{0, 224} {
		for _, m := range []float64{0, 5, 6.67, 10, 15, 30} {
			a := train.Augment{TranslateSize: size}
			pixels := 10 * m
			if size > 0 {
				pixels *= 32. / 224
			}
			s := train.NewSource(1, 2, train.StreamAugment, 3)
			count, negative := map[kernels.ImageOp]int{}, 0
			const n = 5000
			for range n {
				op, arg := a.RandAugment(s, m, 32)
				count[op]++
				v := float64(arg)
				if v < 0 {
					negative++
				}
				want := map[kernels.ImageOp]float64{
					kernels.ImageRotate: 3 * m, kernels.ImageShearX: 0.03 * m, kernels.ImageShearY: 0.03 * m,
					kernels.ImageTranslateX: pixels, kernels.ImageTranslateY: pixels,
					kernels.ImageBrightness: 0.18*m + 0.1, kernels.ImageContrast: 0.18*m + 0.1, kernels.ImageColor: 0.18*m + 0.1,
					kernels.ImagePosterize: min(math.Floor(0.4*m), 8), kernels.ImageSolarize: math.Floor(25.6 * m),
				}[op]
				assert.InDelta(t, want, math.Abs(v), 1e-4, "operation %d", op)
			}
			assert.Len(t, count, 10)
			for op, c := range count {
				assert.InDelta(t, n/10, c, 5*math.Sqrt(n*0.09), "operation %d", op)
			}
			if m > 0 {
				assert.InDelta(t, n/4, negative, 5*math.Sqrt(n*0.1875), "half of the geometric ones")
			}
		}
	}
}
