package kernels_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// noise is an image of random bytes, the hardest content: neighbours differ by up to 255.
func noise(seed uint64, w, h int) ref.Image {
	r := rand.New(rand.NewPCG(seed, 1))
	m := ref.Image{W: w, H: h, Pix: make([]uint8, 3*w*h)}
	for i := range m.Pix {
		m.Pix[i] = uint8(r.Uint32())
	}
	return m
}

// pack returns images as words; the unused byte is not 0, so that a shader that uses it shows.
func pack(images ...ref.Image) []uint32 {
	var words []uint32
	for _, m := range images {
		for i := 0; i < len(m.Pix); i += 3 {
			words = append(words, uint32(m.Pix[i])|uint32(m.Pix[i+1])<<8|uint32(m.Pix[i+2])<<16|0xA5000000)
		}
	}
	return words
}

// unpack is the bytes of packed images.
func unpack(words []uint32) []uint8 {
	var pix []uint8
	for _, w := range words {
		pix = append(pix, uint8(w), uint8(w>>8), uint8(w>>16))
	}
	return pix
}

// table is an image table.
func (f *fixture) table(rows []kernels.ImageRow) vk.Range {
	b := make([]byte, kernels.ImageRowBytes*len(rows))
	for i := range rows {
		rows[i].Encode(b[kernels.ImageRowBytes*i:])
	}
	return f.InputBytes(b).Range()
}

// whole is a row that takes all of an image.
func whole(m ref.Image) kernels.ImageRow {
	return kernels.ImageRow{Width: uint32(m.W), Height: uint32(m.H), CropWidth: float32(m.W), CropHeight: float32(m.H), Lambda: 1}
}

// crops are sources of odd sizes with boxes of all kinds: the whole, a single pixel, parts of pixels, beyond the edges.
func crops() (images []ref.Image, rows []kernels.ImageRow) {
	box := func(w, h int, x, y, cw, ch float32, flip bool) {
		m := noise(uint64(len(images)), w, h)
		images = append(images, m)
		r := whole(m)
		r.X, r.Y, r.CropWidth, r.CropHeight, r.Flip = x, y, cw, ch, flip
		rows = append(rows, r)
	}
	box(1, 1, 0, 0, 1, 1, false)
	box(37, 23, 0, 0, 37, 23, false)
	box(37, 23, 0, 0, 37, 23, true)
	box(1, 41, 0, 3, 1, 31, true)
	box(64, 2, 60, 1, 4, 1, false) // at the corner
	box(29, 31, 12, 13, 1, 1, false)
	box(29, 31, 3.25, 7.5, 17.75, 9.125, true)
	box(13, 17, -2, -3.5, 19, 22, false)
	box(95, 61, 20, 11, 51, 40, true)
	offset := uint32(0)
	for i := range rows {
		rows[i].Offset = offset
		offset += rows[i].Width * rows[i].Height
	}
	return images, rows
}

func TestImageCrop(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, s := range [][2]int{{1, 1}, {7, 5}, {16, 16}, {33, 50}} {
			for _, antialias := range []bool{false, true} {
				t.Run(fmt.Sprintf("%dx%d antialias=%t", s[0], s[1], antialias), func(t *testing.T) {
					testCrop(t, dev, s[0], s[1], antialias)
				})
			}
		}
		t.Run("cut", func(t *testing.T) { testCrop(t, narrow(t, dev), 48, 50, false) }) // 4 images a call
	})
}

func testCrop(t *testing.T, dev *vk.Device, h, w int, antialias bool) {
	images, rows := crops()
	op, err := kernels.NewImageCrop(dev, kernels.ImageCropConfig{N: len(rows), H: h, W: w, Antialias: antialias})
	require.NoError(t, err)
	f := newFixture(t, dev)
	pixels, table, out := f.InputWords(pack(images...)), f.table(rows), f.Output(len(rows)*h*w)
	f.Run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.ImageCropArgs{Pixels: pixels.Range(), Table: table, Out: out.Range()})
	})
	got := unpack(out.Words())
	for n, row := range rows {
		want := ref.ImageCrop(images[n], row, h, w, antialias)
		// A coordinate is right to about 2 units in the last place, and a pixel changes by up to 255 on the way to the next.
		slack := 1e-3 + 255*4*math.Exp2(-24)*float64(max(row.Width, row.Height))
		for i, v := range want {
			g := float64(got[n*h*w*3+i])
			require.LessOrEqual(t, math.Abs(g-v), 0.5+slack, "image %d, [%d %d %d]: got %g, want %g rounded", n, i/3/w, i/3%w, i%3, g, v)
		}
	}
}

// TestImageCropCopies asks for the size that an image has: every byte must come through, mirrored or not.
func TestImageCropCopies(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, antialias := range []bool{false, true} {
			m := noise(5, 51, 33)
			op, err := kernels.NewImageCrop(dev, kernels.ImageCropConfig{N: 2, H: m.H, W: m.W, Antialias: antialias})
			require.NoError(t, err)
			f := newFixture(t, dev)
			rows := []kernels.ImageRow{whole(m), whole(m)}
			rows[1].Flip = true
			pixels, table, out := f.InputWords(pack(m)), f.table(rows), f.Output(2*m.W*m.H)
			f.Run(func(rec *vk.Recorder) {
				op.Record(rec, kernels.ImageCropArgs{Pixels: pixels.Range(), Table: table, Out: out.Range()})
			})
			got := unpack(out.Words())
			mirrored := make([]uint8, len(m.Pix))
			for y := range m.H {
				for x := range m.W {
					copy(mirrored[(y*m.W+x)*3:], m.Pix[(y*m.W+m.W-1-x)*3:][:3])
				}
			}
			assert.Equal(t, m.Pix, got[:len(m.Pix)])
			assert.Equal(t, mirrored, got[len(m.Pix):])
		}
	})
}

// augmentation is an operation with an argument.
type augmentation struct {
	op  kernels.ImageOp
	arg float32
}

// augmentations are all operations with usual, zero and extreme arguments.
func augmentations() []augmentation {
	var all []augmentation
	for op, args := range [...][]float32{
		kernels.ImageRotate:      {0, 15, -30, 90, 179},
		kernels.ImageShearX:      {0.3, -0.3},
		kernels.ImageShearY:      {0.3, -0.3},
		kernels.ImageTranslateX:  {3, -7.5, 1000},
		kernels.ImageTranslateY:  {-4, 2.25, -1000},
		kernels.ImageBrightness:  {0, 0.1, 1, 1.9, 5},
		kernels.ImageContrast:    {0, 0.1, 1, 1.9, 5},
		kernels.ImageColor:       {0, 0.1, 1, 1.9, 5},
		kernels.ImageSharpness:   {0, 0.1, 1, 1.9, 5},
		kernels.ImagePosterize:   {0, 1, 4, 8},
		kernels.ImageSolarize:    {0, 1, 128, 255, 256},
		kernels.ImageNone:        {0},
		kernels.ImageInvert:      {0},
		kernels.ImageSolarizeAdd: {0, 33, 110, 300},
		kernels.ImageCutout:      {0, 1, 5, 200},
	} {
		for _, arg := range args {
			all = append(all, augmentation{kernels.ImageOp(op), arg})
		}
	}
	return all
}

func TestImageAugment(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, s := range [][2]int{{1, 1}, {2, 3}, {31, 40}} {
			for pass := range 2 {
				t.Run(fmt.Sprintf("%dx%d pass=%d", s[0], s[1], pass), func(t *testing.T) { testAugment(t, dev, s[0], s[1], pass) })
			}
		}
		t.Run("cut", func(t *testing.T) { testAugment(t, narrow(t, dev), 48, 50, 0) }) // 4 images a call
	})
}

func testAugment(t *testing.T, dev *vk.Device, h, w, pass int) {
	all := augmentations()
	var images []ref.Image
	rows := make([]kernels.ImageRow, len(all))
	for n, a := range all {
		images = append(images, noise(uint64(n), w, h))
		rows[n].Op = [2]kernels.ImageOp{kernels.ImageInvert, kernels.ImageInvert} // of the pass that is not asked for
		rows[n].Op[pass], rows[n].Arg[pass] = a.op, a.arg
		rows[n].Centre[pass] = [2]uint16{uint16(n * 3 % w), uint16(n * 5 % h)}
	}
	op, err := kernels.NewImageAugment(dev, kernels.ImageAugmentConfig{N: len(all), H: h, W: w, Pass: pass})
	require.NoError(t, err)
	f := newFixture(t, dev)
	in, table, out := f.InputWords(pack(images...)), f.table(rows), f.Output(len(all)*h*w)
	f.Run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.ImageAugmentArgs{Image: in.Range(), Table: table, Out: out.Range()})
	})
	got := unpack(out.Words())
	for n, a := range all {
		pix := got[n*h*w*3:][:h*w*3]
		if a.op < kernels.ImageRotate || a.op > kernels.ImageTranslateY {
			require.Equal(t, ref.ImageColors(images[n], a.op, a.arg, rows[n].Centre[pass]).Pix, pix, "image %d: %+v", n, a)
			continue
		}
		// Vulkan lets sin and cos be wrong by 2^-11; every pixel that such a rotation could take is right.
		slack := 0.0
		if a.op == kernels.ImageRotate {
			slack = math.Exp2(-11) * float64(h+w) / 2
		}
		for y := range h {
			for x := range w {
				sx, sy := ref.ImageSource(a.op, a.arg, h, w, x, y)
				var may [][3]uint8
				for _, dx := range []float64{0, -slack, slack} {
					for _, dy := range []float64{0, -slack, slack} {
						may = append(may, ref.ImageNearest(images[n], sx+dx, sy+dy))
					}
				}
				require.Contains(t, may, [3]uint8(pix[(y*w+x)*3:]), "image %d: %+v: pixel [%d %d]", n, a, y, x)
			}
		}
	}
}

func TestImageNormalize(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, s := range [][3]int{{1, 1, 1}, {3, 7, 5}, {5, 16, 33}} {
			t.Run(fmt.Sprint(s), func(t *testing.T) {
				eachElem(t, dev, func(t *testing.T, e kernels.Elem) { testNormalize(t, dev, e, s[0], s[1], s[2]) })
			})
		}
		t.Run("cut", func(t *testing.T) { testNormalize(t, narrow(t, dev), kernels.F32, 6, 48, 50) }) // 2 images a call
	})
}

func testNormalize(t *testing.T, dev *vk.Device, e kernels.Elem, n, h, w int) {
	mean, std := [3]float32{0.485, 0.456, 0.406}, [3]float32{0.229, 0.224, 0.225}
	op, err := kernels.NewImageNormalize(dev, kernels.ImageNormalizeConfig{N: n, H: h, W: w, Elem: e, Mean: mean, Std: std})
	require.NoError(t, err)
	var images []ref.Image
	rows := make([]kernels.ImageRow, n)
	for i := range rows {
		images = append(images, noise(uint64(i), w, h))
		rows[i].Partner, rows[i].Lambda = uint32(n-1-i), 1-float32(i%3)*0.3
	}
	f := newFixture(t, dev)
	f.elem = e
	in, table, out := f.InputWords(pack(images...)), f.table(rows), f.activationOutput(3*n*h*w)
	f.Run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.ImageNormalizeArgs{Image: in.Range(), Table: table, Out: out.Range()})
	})
	var want []float64
	for i, r := range rows {
		want = append(want, ref.ImageNormalize(images[i], images[r.Partner], float64(r.Lambda), widen(mean), widen(std))...)
	}
	shadertest.Compare(t, "out", f.activations(out, len(want)), want, f.tolerance(shadertest.Tol{NMSE: 1e-13, Shape: []int{n, h, w, 3}}))
}

func widen(x [3]float32) [3]float64 {
	return [3]float64{float64(x[0]), float64(x[1]), float64(x[2])}
}

func TestImageErrors(t *testing.T) {
	dev := shadertest.Devices(t)[0]
	const want = ": got 1 images of 0x3, want at least 1 of 1x1"
	assert.EqualError(t, second(kernels.NewImageCrop(dev, kernels.ImageCropConfig{N: 1, W: 3})), "kernels: image crop"+want)
	assert.EqualError(t, second(kernels.NewImageAugment(dev, kernels.ImageAugmentConfig{N: 1, W: 3})), "kernels: image augment"+want)
	assert.EqualError(t, second(kernels.NewImageNormalize(dev, kernels.ImageNormalizeConfig{N: 1, W: 3})), "kernels: image normalize"+want)
	assert.EqualError(t, second(kernels.NewImageAugment(dev, kernels.ImageAugmentConfig{N: 1, H: 1, W: 1, Pass: 2})),
		"kernels: image augment: got pass 2, want 0 or 1")

	cut := narrow(t, dev)
	var unsupported *vk.UnsupportedError
	assert.ErrorAs(t, second(kernels.NewImageCrop(cut, kernels.ImageCropConfig{N: 9, H: 200, W: 200})), &unsupported, "an image above the limit")
	assert.ErrorAs(t, second(kernels.NewImageNormalize(cut, kernels.ImageNormalizeConfig{N: 9, H: 48, W: 50})), &unsupported, "a batch above the limit")
	op, err := kernels.NewImageCrop(cut, kernels.ImageCropConfig{N: 1, H: 1, W: 1})
	require.NoError(t, err)
	pixels, err := cut.NewBuffer("pixels", 1<<17, vk.DeviceMemory)
	require.NoError(t, err)
	defer pixels.Release()
	rec := cut.NewRecorder("crop")
	op.Record(rec, kernels.ImageCropArgs{Pixels: pixels.Range(), Table: pixels.Range(), Out: pixels.Range()})
	assert.ErrorAs(t, rec.Err(), &unsupported, "sources above the limit")
}
