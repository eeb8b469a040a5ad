package train

import (
	"math"

	"github.com/seed-8d806880/vkeffnet/kernels"
)

// Augment says how training images are drawn; magnitude and mixup come from the step's settings. The zero value
// resizes the whole image.
type Augment struct {
	Seed                 uint64
	AreaMin, AreaMax     float64 // share of the image's area that a crop has; AreaMin 0: no crop
	AspectMin, AspectMax float64 // width / height of a crop
	Flip                 bool    // mirror half of the images
	Ops                  int     // RandAugment operations on each image, 0 to 2
	// TranslateSize is the image size at which RandAugment translates by 10 pixels a unit of magnitude, in proportion
	// at others; 0: at every size, as in the reference code, which suits large images only.
	TranslateSize int
}

// rect is a region of an image in whole pixels.
type rect struct{ x, y, w, h int }

// cropTries bounds the search for a crop that lies inside the image: TensorFlow's default.
const cropTries = 100

// crop draws a region of a w x h image as tf.image.sample_distorted_bounding_box does, the reference code's choice:
// an aspect ratio uniform between its bounds, a height uniform among those whose area is between its bounds and that
// fit the image, and a place uniform among all. When nothing fits it is the whole image. torchvision's
// RandomResizedCrop differs: there the area is uniform, which makes small crops more frequent.
func (a *Augment) crop(s *source, w, h int) rect {
	if a.AreaMin == 0 {
		return rect{0, 0, w, h}
	}
	least, most := a.AreaMin*float64(w)*float64(h), a.AreaMax*float64(w)*float64(h)
	for range cropTries {
		aspect := s.between(a.AspectMin, a.AspectMax)
		width := func(height int) int { return int(math.Round(float64(height) * aspect)) }
		hi := min(int(math.Round(math.Sqrt(most/aspect))), h, int((float64(w)+0.5)/aspect))
		lo := min(int(math.Round(math.Sqrt(least/aspect))), hi)
		ch := lo + s.intn(hi-lo+1)
		// Rounding may have put the area just outside its bounds.
		switch area := float64(ch * width(ch)); {
		case area < least:
			ch++
		case area > most:
			ch--
		}
		cw := width(ch)
		if area := float64(ch * cw); area < least || area > most || cw < 1 || ch < 1 || cw > w || ch > h {
			continue
		}
		return rect{s.intn(w - cw + 1), s.intn(h - ch + 1), cw, ch}
	}
	return rect{0, 0, w, h}
}

// randOps are the operations that RandAugment chooses from.
var randOps = [...]kernels.ImageOp{kernels.ImageRotate, kernels.ImageShearX, kernels.ImageShearY, kernels.ImageTranslateX,
	kernels.ImageTranslateY, kernels.ImageBrightness, kernels.ImageContrast, kernels.ImageColor, kernels.ImagePosterize,
	kernels.ImageSolarize}

// randAugment draws one operation at magnitude m for images of a size, with the arguments of the reference code
// (google/automl efficientnetv2/autoaugment.py): each of the ranges is reached at m = 10, and a larger m goes beyond it.
func (a *Augment) randAugment(s *source, m float64, size int) (kernels.ImageOp, float32) {
	op := randOps[s.intn(len(randOps))]
	sign := 1.0
	if s.uint32()>>31 == 1 {
		sign = -1
	}
	v := 0.0
	switch op {
	case kernels.ImageRotate:
		v = sign * 3 * m
	case kernels.ImageShearX, kernels.ImageShearY:
		v = sign * 0.03 * m
	case kernels.ImageTranslateX, kernels.ImageTranslateY:
		v = sign * 10 * m
		if a.TranslateSize > 0 {
			v *= float64(size) / float64(a.TranslateSize)
		}
	case kernels.ImageBrightness, kernels.ImageContrast, kernels.ImageColor:
		v = 0.18*m + 0.1
	case kernels.ImagePosterize:
		v = min(math.Floor(0.4*m), 8)
	case kernels.ImageSolarize:
		v = math.Floor(25.6 * m)
	}
	return op, float32(v)
}

// draw returns the region of a w x h image that is used, and the row's fields that do not depend on the packing. Its
// draws depend on (a.Seed, step, image) alone, where image is the index within the data set.
func (a *Augment) draw(at StepSettings, image, w, h int) (rect, kernels.ImageRow) {
	s := newSource(a.Seed, uint32(at.Step), streamAugment, uint32(image))
	row := kernels.ImageRow{Lambda: 1}
	r := a.crop(s, w, h)
	if a.Flip {
		row.Flip = s.uint32()>>31 == 1
	}
	for i := range a.Ops {
		row.Op[i], row.Arg[i] = a.randAugment(s, at.Magnitude, at.Size)
	}
	if at.Mixup > 0 {
		l := s.beta(at.Mixup)
		row.Lambda = float32(max(l, 1-l))
	}
	return r, row
}
