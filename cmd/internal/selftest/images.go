package selftest

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
	"github.com/seed-8d806880/vkeffnet/vk"
)

func imageTests() []test {
	normalize := []test{{kernel: "image normalize", hint: hintDriver, run: imageNormalize}}
	return slices.Concat([]test{
		{kernel: "image crop", hint: hintDriver, run: imageCrop},
		{kernel: "image augment", hint: hintDriver, run: imageAugment},
	}, normalize, inHalf(normalize))
}

// noise makes an image of random bytes, where neighbours differ most.
func (b *bed) noise(w, h int) ref.Image {
	m := ref.Image{W: w, H: h, Pix: make([]uint8, 3*w*h)}
	for i := range m.Pix {
		m.Pix[i] = uint8(b.random.Uint32())
	}
	return m
}

// packed makes a buffer of images, a word a pixel.
func (b *bed) packed(images ...ref.Image) *buffer {
	var words []uint32
	for _, m := range images {
		for i := 0; i < len(m.Pix); i += 3 {
			words = append(words, uint32(m.Pix[i])|uint32(m.Pix[i+1])<<8|uint32(m.Pix[i+2])<<16)
		}
	}
	return b.words(words)
}

// pixels downloads packed images as the numbers of their bytes.
func (x *buffer) pixels() []float64 {
	data := x.bytes()
	data = data[guardBytes : len(data)-guardBytes]
	var out []float64
	for i := 0; i < len(data); i += 4 {
		out = append(out, float64(data[i]), float64(data[i+1]), float64(data[i+2]))
	}
	return out
}

// table makes an image table.
func (b *bed) table(rows []kernels.ImageRow) vk.Range {
	data := make([]byte, kernels.ImageRowBytes*len(rows))
	for i := range rows {
		rows[i].Encode(data[kernels.ImageRowBytes*i:])
	}
	words := make([]uint32, len(data)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	return b.words(words).rng()
}

// imageCrop enlarges and reduces parts of an image; a result is the nearest byte, up to the rounding of coordinates.
func imageCrop(b *bed) {
	const h, w, slack = 33, 50, 0.02
	m := b.noise(95, 61)
	row := kernels.ImageRow{Width: 95, Height: 61, CropWidth: 95, CropHeight: 61, Lambda: 1}
	part := row
	part.X, part.Y, part.CropWidth, part.CropHeight, part.Flip = 20.25, 11.5, 17.75, 9.125, true
	rows := []kernels.ImageRow{row, part}
	for _, antialias := range []bool{false, true} {
		op, err := kernels.NewImageCrop(b.dev, kernels.ImageCropConfig{N: len(rows), H: h, W: w, Antialias: antialias})
		if !b.made(err) {
			return
		}
		in, table, out := b.packed(m), b.table(rows), b.output(len(rows)*h*w)
		b.run(func(rec *vk.Recorder) {
			op.Record(rec, kernels.ImageCropArgs{Pixels: in.rng(), Table: table, Out: out.rng()})
		})
		got := out.pixels()
		for n, r := range rows {
			want := ref.ImageCrop(m, r, h, w, antialias)
			part := got[n*h*w*3:][:h*w*3]
			for i, v := range want { // within rounding of a byte the byte is right
				if math.Abs(part[i]-v) <= 0.5+slack {
					want[i] = part[i]
				}
			}
			b.compare(fmt.Sprintf("image %d", n), part, want)
		}
		b.release()
	}
}

// imageAugment applies operations whose result is the same on every device.
func imageAugment(b *bed) {
	ops := []struct {
		op  kernels.ImageOp
		arg float32
	}{{kernels.ImageNone, 0}, {kernels.ImageShearX, 0.3}, {kernels.ImageShearY, -0.2}, {kernels.ImageTranslateX, 4}, {kernels.ImageTranslateY, -3},
		{kernels.ImageBrightness, 1.4}, {kernels.ImageContrast, 0.5}, {kernels.ImageColor, 0.2}, {kernels.ImagePosterize, 4}, {kernels.ImageSolarize, 128},
		{kernels.ImageInvert, 0}, {kernels.ImageSolarizeAdd, 50}, {kernels.ImageSharpness, 1.6}}
	const h, w = 23, 37
	var images []ref.Image
	var rows []kernels.ImageRow
	for _, o := range ops {
		images = append(images, b.noise(w, h))
		rows = append(rows, kernels.ImageRow{Width: w, Height: h, CropWidth: w, CropHeight: h, Lambda: 1,
			Op: [2]kernels.ImageOp{o.op, kernels.ImageNone}, Arg: [2]float32{o.arg}})
	}
	op, err := kernels.NewImageAugment(b.dev, kernels.ImageAugmentConfig{N: len(rows), H: h, W: w})
	if !b.made(err) {
		return
	}
	in, table, out := b.packed(images...), b.table(rows), b.output(len(rows)*h*w)
	b.run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.ImageAugmentArgs{Image: in.rng(), Table: table, Out: out.rng()})
	})
	got := out.pixels()
	for n, o := range ops {
		want := make([]float64, 0, h*w*3)
		colors := ref.ImageColors(images[n], o.op, o.arg, [2]uint16{})
		for i := range h * w {
			pixel := [3]uint8(colors.Pix[3*i:])
			if o.op >= kernels.ImageRotate && o.op <= kernels.ImageTranslateY {
				x, y := ref.ImageSource(o.op, o.arg, h, w, i%w, i/w)
				pixel = ref.ImageNearest(images[n], x, y)
			}
			want = append(want, float64(pixel[0]), float64(pixel[1]), float64(pixel[2]))
		}
		b.compare(fmt.Sprintf("operation %d", o.op), got[n*h*w*3:][:h*w*3], want)
	}
}

// imageNormalize mixes two images and normalises them.
func imageNormalize(b *bed) {
	const h, w, lambda = 23, 37, 0.75
	mean, std := [3]float32{0.485, 0.456, 0.406}, [3]float32{0.229, 0.224, 0.225}
	op, err := kernels.NewImageNormalize(b.dev, kernels.ImageNormalizeConfig{N: 2, H: h, W: w, Elem: b.elem, Mean: mean, Std: std})
	if !b.made(err) {
		return
	}
	images := []ref.Image{b.noise(w, h), b.noise(w, h)}
	in, out := b.packed(images...), b.activations(2*h*w*3)
	table := b.table([]kernels.ImageRow{{Partner: 1, Lambda: lambda}, {Partner: 0, Lambda: 1}})
	b.run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.ImageNormalizeArgs{Image: in.rng(), Table: table, Out: out.rng()})
	})
	var mean64, std64 [3]float64
	for c := range 3 {
		mean64[c], std64[c] = float64(mean[c]), float64(std[c])
	}
	want := ref.ImageNormalize(images[0], images[1], lambda, mean64, std64)
	want = append(want, ref.ImageNormalize(images[1], images[0], 1, mean64, std64)...)
	b.compare("out", out.readActivations(len(want)), want)
}
