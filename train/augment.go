package train

import "math"

// Op is one operation of RandAugment, numbered as the shader numbers them.
type Op uint32

// The operations, with what Value means. Geometric ones take their samples at the nearest pixel and fill with 128.
const (
	OpNone       Op = iota
	OpRotate        // degrees, counter-clockwise
	OpShearX        // pixels of x per pixel of y
	OpShearY        // pixels of y per pixel of x
	OpTranslateX    // pixels
	OpTranslateY    // pixels
	OpBrightness    // factor: 0 black, 1 unchanged
	OpContrast      // factor: 0 grey, 1 unchanged
	OpColor         // factor: 0 grey levels, 1 unchanged
	OpPosterize     // bits kept of each byte
	OpSolarize      // bytes from this value on are inverted
)

// AugmentOp is an operation and its drawn argument.
type AugmentOp struct {
	Op    Op
	Value float32
}

// ImageParams is what the device needs to turn one packed source image into an input of the network.
type ImageParams struct {
	Offset  int     // first byte of the packed source in Batch.Pixels
	W, H    int     // of the packed source
	X, Y    float32 // top left corner of the region that is resized, in source pixels
	CropW   float32 // width of that region
	CropH   float32 // height of that region
	Flip    bool    // mirror left and right
	Ops     [2]AugmentOp
	Partner int     // image of the batch that is mixed in
	Lambda  float32 // share of this image; 1: Partner is not used
}

// Augment says how training images are drawn; magnitude and mixup come from the step's settings. The zero value
// resizes the whole image.
type Augment struct {
	Seed                 uint64
	AreaMin, AreaMax     float64 // share of the image's area that a crop has; AreaMin 0: no crop
	AspectMin, AspectMax float64 // width / height of a crop
	Flip                 bool    // mirror half of the images
	Ops                  int     // RandAugment operations on each image, 0 to 2
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
var randOps = [...]Op{OpRotate, OpShearX, OpShearY, OpTranslateX, OpTranslateY, OpBrightness, OpContrast, OpColor,
	OpPosterize, OpSolarize}

// randAugment draws one operation at magnitude m, with the arguments of the reference code (google/automl
// efficientnetv2/autoaugment.py): each of the ranges is reached at m = 10, and a larger m goes beyond it.
func randAugment(s *source, m float64) AugmentOp {
	op := randOps[s.intn(len(randOps))]
	sign := 1.0
	if s.uint32()>>31 == 1 {
		sign = -1
	}
	v := 0.0
	switch op {
	case OpRotate:
		v = sign * 3 * m
	case OpShearX, OpShearY:
		v = sign * 0.03 * m
	case OpTranslateX, OpTranslateY:
		v = sign * 10 * m
	case OpBrightness, OpContrast, OpColor:
		v = 0.18*m + 0.1
	case OpPosterize:
		v = math.Floor(0.4 * m)
	case OpSolarize:
		v = math.Floor(25.6 * m)
	}
	return AugmentOp{Op: op, Value: float32(v)}
}

// draw returns the region of a w x h image that is used, and the parameters that do not depend on the packing. Its
// draws depend on (a.Seed, step, image) alone, where image is the index within the data set.
func (a *Augment) draw(at StepSettings, image, w, h int) (rect, ImageParams) {
	s := newSource(a.Seed, uint32(at.Step), streamAugment, uint32(image))
	p := ImageParams{Lambda: 1}
	r := a.crop(s, w, h)
	if a.Flip {
		p.Flip = s.uint32()>>31 == 1
	}
	for i := range a.Ops {
		p.Ops[i] = randAugment(s, at.Magnitude)
	}
	if at.Mixup > 0 {
		l := s.beta(at.Mixup)
		p.Lambda = float32(max(l, 1-l))
	}
	return r, p
}
