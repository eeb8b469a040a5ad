package ref

import (
	"math"

	"github.com/seed-8d806880/vkeffnet/kernels"
)

// Image is an image of bytes: Pix [H][W][3].
type Image struct {
	W, H int
	Pix  []uint8
}

func (m Image) at(x, y, c int) float64 { return float64(m.Pix[(y*m.W+x)*3+c]) }

// ImageCrop returns what row makes of an image resized to h x w, [h][w][3] before it is rounded to bytes.
func ImageCrop(m Image, row kernels.ImageRow, h, w int, antialias bool) []float64 {
	out := make([]float64, h*w*3)
	wy := triangles(float64(row.Y), float64(row.CropHeight), h, m.H, antialias)
	wx := triangles(float64(row.X), float64(row.CropWidth), w, m.W, antialias)
	for y := range h {
		for x := range w {
			column := x
			if row.Flip {
				column = w - 1 - x
			}
			for sy, a := range wy[y] {
				for sx, b := range wx[column] {
					for c := range 3 {
						out[(y*w+x)*3+c] += a * b * m.at(sx, sy, c)
					}
				}
			}
		}
	}
	return out
}

// triangles returns, for each of n samples of the interval that starts at first, the weights of the source's pixels: those of
// a triangle around the sample, as wide as the step between samples if that is above 1 and antialiasing is on. Samples beyond the source are its border's.
func triangles(first, length float64, n, size int, antialias bool) []map[int]float64 {
	step := length / float64(n)
	reach := 1.0
	if antialias {
		reach = math.Max(step, 1)
	}
	all := make([]map[int]float64, n)
	for i := range all {
		at := first + (float64(i)+0.5)*step - 0.5
		if antialias {
			at = min(max(at, -0.5), float64(size)-0.5)
		}
		all[i] = map[int]float64{}
		sum := 0.0
		for j := int(math.Floor(at - reach)); j <= int(math.Ceil(at+reach)); j++ {
			weight := math.Max(1-math.Abs(float64(j)-at)/reach, 0)
			inside := min(max(j, 0), size-1)
			if antialias && inside != j {
				continue
			}
			all[i][inside] += weight
			sum += weight
		}
		for j := range all[i] {
			all[i][j] /= sum
		}
	}
	return all
}

// ImageSource is the place in the input that a geometric operation takes pixel (x, y) of an h x w image from. Shears
// are rounded to float32 twice, as the reference code's are: 0.3*5 falls between two pixels only then.
func ImageSource(op kernels.ImageOp, arg float32, h, w, x, y int) (sx, sy float64) {
	sx, sy = float64(x), float64(y)
	switch op {
	case kernels.ImageRotate:
		sin, cos := math.Sincos(float64(arg) * math.Pi / 180)
		cx, cy := float64(w-1)/2, float64(h-1)/2
		dx, dy := sx-cx, sy-cy
		return cx + cos*dx - sin*dy, cy + sin*dx + cos*dy
	case kernels.ImageShearX:
		return float64(float32(x) + float32(arg*float32(y))), sy
	case kernels.ImageShearY:
		return sx, float64(float32(y) + float32(arg*float32(x)))
	case kernels.ImageTranslateX:
		return float64(float32(x) + arg), sy
	case kernels.ImageTranslateY:
		return sx, float64(float32(y) + arg)
	}
	return sx, sy
}

// ImageNearest is the pixel nearest to (x, y), halves away from zero, or grey outside the image.
func ImageNearest(m Image, x, y float64) [3]uint8 {
	ix, iy := int(math.Round(x)), int(math.Round(y))
	if ix < 0 || iy < 0 || ix >= m.W || iy >= m.H {
		return [3]uint8{128, 128, 128}
	}
	return [3]uint8(m.Pix[(iy*m.W+ix)*3:])
}

// blend goes from a to b and beyond and cuts the result to a byte. Its products and sums are float32, as the reference
// code's are, so that the bytes can be compared exactly.
func blend(a, b uint8, factor float32) uint8 {
	v := float32(a) + float32(factor*(float32(b)-float32(a)))
	return uint8(min(max(v, 0), 255))
}

// ImageColors applies an operation that leaves pixels where they are.
func ImageColors(m Image, op kernels.ImageOp, arg float32, centre [2]uint16) Image {
	out := Image{m.W, m.H, make([]uint8, len(m.Pix))}
	contrast := uint8(min(m.W*m.H/256, 255))
	for i, v := range m.Pix {
		x, y := i/3%m.W, i/3/m.W
		switch op {
		case kernels.ImageBrightness:
			v = blend(0, v, arg)
		case kernels.ImageContrast:
			v = blend(contrast, v, arg)
		case kernels.ImageColor:
			v = blend(grey([3]uint8(m.Pix[i/3*3:])), v, arg)
		case kernels.ImagePosterize:
			v = v >> (8 - int(arg)) << (8 - int(arg))
		case kernels.ImageSolarize:
			if float32(v) >= arg {
				v = 255 - v
			}
		case kernels.ImageInvert:
			v = 255 - v
		case kernels.ImageSolarizeAdd:
			if v < 128 {
				v = uint8(min(float32(v)+arg, 255))
			}
		case kernels.ImageSharpness:
			v = blend(smoothed(m, x, y, i%3), v, arg)
		case kernels.ImageCutout:
			half := int(arg)
			dx, dy := x-int(centre[0]), y-int(centre[1])
			if -half <= dx && dx < half && -half <= dy && dy < half {
				v = 128
			}
		}
		out.Pix[i] = v
	}
	return out
}

// grey is tf.image.rgb_to_grayscale of bytes; float32, as in blend.
func grey(p [3]uint8) uint8 {
	sum := float32(float32(p[0])*0.2989) + float32(float32(p[1])*0.587)
	sum += float32(float32(p[2]) * 0.114)
	return uint8(sum * (255.5 / 255))
}

// smoothed is the mean of the nine pixels around an inner one, which counts five times; a border pixel stays.
func smoothed(m Image, x, y, c int) uint8 {
	if x == 0 || y == 0 || x == m.W-1 || y == m.H-1 {
		return uint8(m.at(x, y, c))
	}
	sum := 4 * m.at(x, y, c)
	for j := y - 1; j <= y+1; j++ {
		for i := x - 1; i <= x+1; i++ {
			sum += m.at(i, j, c)
		}
	}
	return uint8(sum / 13)
}

// ImageNormalize returns (lambda*m + (1-lambda)*partner)/255, less mean, over std.
func ImageNormalize(m, partner Image, lambda float64, mean, std [3]float64) []float64 {
	out := make([]float64, len(m.Pix))
	for i := range out {
		v := lambda*float64(m.Pix[i]) + (1-lambda)*float64(partner.Pix[i])
		out[i] = (v/255 - mean[i%3]) / std[i%3]
	}
	return out
}
