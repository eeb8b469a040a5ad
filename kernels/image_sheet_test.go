package kernels_test

import (
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

var sheet = flag.String("sheet", "", "write a contact sheet of the augmentations to this PNG file")

// scene paints something like a photograph: a bright sky, a sun, hills with texture, a red house with a lit window.
func scene(size int) ref.Image {
	m := ref.Image{W: size, H: size, Pix: make([]uint8, 3*size*size)}
	mix := func(a, b [3]float64, t float64) [3]float64 {
		for i := range a {
			a[i] += (b[i] - a[i]) * t
		}
		return a
	}
	for py := range size {
		for px := range size {
			x, y := float64(px)/float64(size), float64(py)/float64(size)
			c := mix([3]float64{70, 130, 210}, [3]float64{225, 220, 200}, y/0.6)
			c = mix(c, [3]float64{255, 245, 190}, math.Exp(-60*((x-0.75)*(x-0.75)+(y-0.2)*(y-0.2))))
			far := 0.45 + 0.06*math.Sin(7*x) + 0.03*math.Sin(19*x+1)
			near := 0.68 + 0.05*math.Sin(4*x+2)
			grain := math.Sin(61*x+23*y) * math.Sin(47*y-31*x)
			if y > far {
				c = mix([3]float64{95, 115, 135}, [3]float64{130, 140, 130}, (y-far)/0.25)
				c = mix(c, [3]float64{60, 80, 90}, 0.15+0.15*grain)
			}
			if y > near {
				c = mix([3]float64{120, 150, 60}, [3]float64{50, 85, 35}, (y-near)/0.3)
				c = mix(c, [3]float64{40, 60, 20}, 0.2+0.2*grain)
			}
			switch {
			case math.Abs(x-0.3) < 0.14 && y > 0.55 && y < 0.8:
				c = mix([3]float64{190, 60, 45}, [3]float64{150, 40, 35}, 0.5+0.5*math.Sin(150*y))
				if math.Abs(x-0.3) < 0.045 && math.Abs(y-0.66) < 0.05 {
					c = [3]float64{250, 230, 120}
				}
			case y <= 0.55 && y > 0.42 && math.Abs(x-0.3) < 0.18*(y-0.42)/0.13:
				c = [3]float64{80, 50, 50}
			}
			for i, v := range c {
				m.Pix[(py*size+px)*3+i] = uint8(math.Round(min(max(v, 0), 255)))
			}
		}
	}
	return m
}

// TestImageSheet augments one picture in all ways and holds every result apart from the picture that it was made of. With
// -sheet it draws docs/augment.png, for the eye.
func TestImageSheet(t *testing.T) {
	const size, label, columns = 112, 16, 5
	tiles := []struct {
		name string
		row  kernels.ImageRow
	}{
		{name: "the image"},
		{name: "crop and flip", row: kernels.ImageRow{X: 20, Y: 60, CropWidth: 180, CropHeight: 140, Flip: true}},
	}
	add := func(op kernels.ImageOp, arg float32, name string) {
		tiles = append(tiles, tiles[0])
		last := &tiles[len(tiles)-1]
		last.name, last.row.Op[0], last.row.Arg[0], last.row.Centre[0] = name, op, arg, [2]uint16{80, 45}
	}
	add(kernels.ImageRotate, 30, "rotate 30")
	add(kernels.ImageShearX, 0.3, "shear x 0.3")
	add(kernels.ImageShearY, 0.3, "shear y 0.3")
	add(kernels.ImageTranslateX, 25, "translate x 25")
	add(kernels.ImageTranslateY, -25, "translate y -25")
	add(kernels.ImageBrightness, 0.5, "brightness 0.5")
	add(kernels.ImageBrightness, 1.6, "brightness 1.6")
	add(kernels.ImageContrast, 0.4, "contrast 0.4")
	add(kernels.ImageContrast, 1.9, "contrast 1.9")
	add(kernels.ImageColor, 0.1, "colour 0.1")
	add(kernels.ImageColor, 1.9, "colour 1.9")
	add(kernels.ImageSharpness, 0.1, "sharpness 0.1")
	add(kernels.ImageSharpness, 1.9, "sharpness 1.9")
	add(kernels.ImagePosterize, 2, "posterize 2")
	add(kernels.ImageSolarize, 128, "solarize 128")
	add(kernels.ImageInvert, 0, "invert")
	add(kernels.ImageSolarizeAdd, 110, "solarize add 110")
	add(kernels.ImageCutout, 20, "cutout 20")

	photo := scene(256)
	rows := make([]kernels.ImageRow, len(tiles))
	for i, tile := range tiles {
		rows[i] = tile.row
		rows[i].Width, rows[i].Height = uint32(photo.W), uint32(photo.H)
		if rows[i].CropWidth == 0 {
			rows[i].CropWidth, rows[i].CropHeight = float32(photo.W), float32(photo.H)
		}
	}
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		crop, err := kernels.NewImageCrop(dev, kernels.ImageCropConfig{N: len(rows), H: size, W: size, Antialias: true})
		require.NoError(t, err)
		augment, err := kernels.NewImageAugment(dev, kernels.ImageAugmentConfig{N: len(rows), H: size, W: size})
		require.NoError(t, err)
		f := newFixture(t, dev)
		pixels, table := f.InputWords(pack(photo)), f.table(rows)
		resized, out := f.Output(len(rows)*size*size), f.Output(len(rows)*size*size)
		f.Run(func(rec *vk.Recorder) {
			crop.Record(rec, kernels.ImageCropArgs{Pixels: pixels.Range(), Table: table, Out: resized.Range()})
			augment.Record(rec, kernels.ImageAugmentArgs{Image: resized.Range(), Table: table, Out: out.Range()})
		})
		pix := unpack(out.Words())
		tile := func(i int) []uint8 { return pix[i*3*size*size:][:3*size*size] }
		assert.Equal(t, unpack(resized.Words())[:3*size*size], tile(0), "no operation leaves an image alone")
		for i := 1; i < len(tiles); i++ {
			assert.NotEqual(t, tile(0), tile(i), tiles[i].name)
		}
		if *sheet == "" {
			return
		}
		page := image.NewRGBA(image.Rect(0, 0, columns*(size+4), (len(tiles)+columns-1)/columns*(size+label)))
		draw.Draw(page, page.Rect, image.White, image.Point{}, draw.Src)
		for i := range tiles {
			x0, y0 := i%columns*(size+4)+2, i/columns*(size+label)
			for j := range size * size {
				c := tile(i)[3*j:]
				page.SetRGBA(x0+j%size, y0+label-1+j/size, color.RGBA{c[0], c[1], c[2], 255})
			}
			text := font.Drawer{Dst: page, Src: image.Black, Face: basicfont.Face7x13, Dot: fixed.P(x0, y0+11)}
			text.DrawString(tiles[i].name)
		}
		file, err := os.Create(*sheet)
		require.NoError(t, err)
		require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(file, page))
		require.NoError(t, file.Close())
		fmt.Println("written:", *sheet)
	})
}
