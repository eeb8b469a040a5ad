package kernels

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// ImageOp is one operation of RandAugment (Cubuk et al. 2019, arXiv:1909.13719) as google/automl
// efficientnetv2/autoaugment.py does it, with what ImageRow.Arg means.
type ImageOp uint32

// The operations. Geometric ones sample at the nearest pixel and fill with 128; pixel (x, y) of the output is taken from
// the place given here.
const (
	ImageNone        ImageOp = iota
	ImageRotate              // degrees; about the centre: (cx + cos*dx - sin*dy, cy + sin*dx + cos*dy)
	ImageShearX              // (x + arg*y, y)
	ImageShearY              // (x, y + arg*x)
	ImageTranslateX          // (x + arg, y), pixels
	ImageTranslateY          // (x, y + arg), pixels
	ImageBrightness          // factor: 0 black, 1 unchanged, more is brighter
	ImageContrast            // factor: 0 the grey min(255, pixels/256), 1 unchanged (a quirk of the recipe: not the mean grey)
	ImageColor               // factor: 0 grey levels, 1 unchanged
	ImagePosterize           // bits kept of each byte, 0 to 8
	ImageSolarize            // bytes from arg on are inverted
	ImageInvert              // all bytes are inverted
	ImageSolarizeAdd         // arg, a whole number, is added to bytes below 128, at most up to 255
	ImageSharpness           // factor: 0 smoothed by [1 1 1; 1 5 1; 1 1 1]/13 but for the border, 1 unchanged
	ImageCutout              // pixels from Centre-arg up to but not Centre+arg, in x and y, become 128
)

// ImageRow is the table's row of one image, what the image kernels do with it.
type ImageRow struct {
	Offset, Width, Height uint32  // source: first word in the packed pixels, size in pixels
	Flip                  bool    // mirror left and right after cropping
	X, Y                  float32 // top left corner of the region that is resized, in source pixels
	CropWidth, CropHeight float32 // its size
	Op                    [2]ImageOp
	Arg                   [2]float32
	Partner               uint32       // image that is mixed in, an index into the batch
	Lambda                float32      // share of this image; 1 leaves the partner out
	Centre                [2][2]uint16 // of an ImageCutout: x, y in the resized image
}

// ImageRowBytes is the size of a row of the table.
const ImageRowBytes = 64

// Encode writes the row into the first ImageRowBytes of b.
func (r *ImageRow) Encode(b []byte) {
	flip := uint32(0)
	if r.Flip {
		flip = 1
	}
	f := math.Float32bits
	for i, v := range [16]uint32{r.Offset, r.Width, r.Height, flip, f(r.X), f(r.Y), f(r.CropWidth), f(r.CropHeight),
		uint32(r.Op[0]), f(r.Arg[0]), uint32(r.Op[1]), f(r.Arg[1]), r.Partner, f(r.Lambda),
		uint32(r.Centre[0][0]) | uint32(r.Centre[0][1])<<16, uint32(r.Centre[1][0]) | uint32(r.Centre[1][1])<<16} {
		binary.LittleEndian.PutUint32(b[4*i:], v)
	}
}

func checkImages(op string, n, h, w int) error {
	if n < 1 || h < 1 || w < 1 {
		return &ShapeError{Op: op, Got: fmt.Sprintf("%d images of %dx%d", n, h, w), Want: "at least 1 of 1x1"}
	}
	return nil
}

// packedBytes is the size of an image of one word per pixel.
func packedBytes(h, w int) int64 { return 4 * int64(h) * int64(w) }

func pixelGroups(h, w, images int) [3]uint32 {
	return [3]uint32{uint32(ceilDiv(h*w, 64)), uint32(images), 1}
}

// ImageCropConfig is the shape of an ImageCrop: N images, resized to H x W.
type ImageCropConfig struct {
	N, H, W   int
	Antialias bool // every source pixel counts when an image is reduced
}

// ImageCropArgs are the buffers of an ImageCrop: Pixels, the packed sources (a word a pixel: red in the lowest byte, green,
// blue, unused); Table [N] of ImageRow; Out, packed [N][H][W].
type ImageCropArgs struct{ Pixels, Table, Out vk.Range }

// ImageCrop resizes a region of each source to H x W with bilinear interpolation and half-pixel centres, mirrors it if
// asked to, and rounds to the nearest byte. It overwrites out. Without Antialias it does what tf.image.resize does by
// default, which the paper's code trains and evaluates with: the four nearest pixels count, and samples beyond
// the source are its border's. With it, as Pillow's BILINEAR filter and torchvision's evaluation, the pixels of the source
// within cropWidth/W and cropHeight/H count, by their distance.
type ImageCrop struct {
	cfg    ImageCropConfig
	images int // a call
	most   int64
}

// NewImageCrop returns a *ShapeError if the configuration cannot be and a *vk.UnsupportedError if the images do not fit the
// device's bindings.
func NewImageCrop(dev *vk.Device, cfg ImageCropConfig) (*ImageCrop, error) {
	if err := checkImages("image crop", cfg.N, cfg.H, cfg.W); err != nil {
		return nil, err
	}
	images, err := imagesPerCall(dev, "image crop", cfg.N, packedBytes(cfg.H, cfg.W), ImageRowBytes)
	return &ImageCrop{cfg: cfg, images: images, most: dev.Limits().MaxRange}, err
}

// Record appends the calls. All sources must fit one binding.
func (o *ImageCrop) Record(rec *vk.Recorder, a ImageCropArgs) {
	c := o.cfg
	label := fmt.Sprintf("image crop n%d %dx%d", c.N, c.H, c.W)
	size := packedBytes(c.H, c.W)
	if !checkArguments(rec, label, argument{"table", &a.Table, ImageRowBytes * int64(c.N)}, argument{"out", &a.Out, size * int64(c.N)}) {
		return
	}
	if a.Pixels.Size > o.most {
		rec.Fail(&vk.UnsupportedError{What: label, Needs: fmt.Sprintf("a binding of %d bytes, more than the limit of %d bytes: use a smaller batch", a.Pixels.Size, o.most)})
		return
	}
	push := shaders.ImageCropParams{Height: uint32(c.H), Width: uint32(c.W)}
	for first := 0; first < c.N; first += o.images {
		count := min(o.images, c.N-first)
		rec.Dispatch(vk.Call{Shader: &shaders.ImageCrop, Spec: shaders.ImageCropSpec{Antialias: c.Antialias}.Words(), Push: push.Bytes(), Label: label, Groups: pixelGroups(c.H, c.W, count),
			Bind: shaders.ImageCropBindings{Pixels: a.Pixels, Table: imageSlice(a.Table, ImageRowBytes, first, count),
				Cropped: imageSlice(a.Out, size, first, count)}.Ranges()})
	}
}

// ImageAugmentConfig is the shape of an ImageAugment: N packed images of H x W; Pass chooses ImageRow.Op[Pass].
type ImageAugmentConfig struct{ N, H, W, Pass int }

// ImageAugmentArgs are the buffers of an ImageAugment: Image and Out, packed [N][H][W] and not the same; Table [N].
type ImageAugmentArgs struct{ Image, Table, Out vk.Range }

// ImageAugment applies one operation to each image and overwrites out. Brightness, contrast, colour and sharpness are
// clamp(degenerate + factor*(image - degenerate)) truncated to bytes. The result is the same on every device, but for
// pixels of a rotation that fall between two.
type ImageAugment struct {
	cfg    ImageAugmentConfig
	images int
}

// NewImageAugment returns a *ShapeError if the configuration cannot be and a *vk.UnsupportedError if an image does not fit
// the device's bindings.
func NewImageAugment(dev *vk.Device, cfg ImageAugmentConfig) (*ImageAugment, error) {
	if err := checkImages("image augment", cfg.N, cfg.H, cfg.W); err != nil {
		return nil, err
	}
	if cfg.Pass < 0 || cfg.Pass > 1 {
		return nil, &ShapeError{Op: "image augment", Got: fmt.Sprintf("pass %d", cfg.Pass), Want: "0 or 1"}
	}
	images, err := imagesPerCall(dev, "image augment", cfg.N, packedBytes(cfg.H, cfg.W), ImageRowBytes)
	return &ImageAugment{cfg: cfg, images: images}, err
}

// Record appends the calls.
func (o *ImageAugment) Record(rec *vk.Recorder, a ImageAugmentArgs) {
	c := o.cfg
	label := fmt.Sprintf("image augment n%d %dx%d", c.N, c.H, c.W)
	size := packedBytes(c.H, c.W)
	if !checkArguments(rec, label, argument{"image", &a.Image, size * int64(c.N)}, argument{"table", &a.Table, ImageRowBytes * int64(c.N)},
		argument{"out", &a.Out, size * int64(c.N)}) {
		return
	}
	push := shaders.ImageAugmentParams{Pass: uint32(c.Pass), Height: uint32(c.H), Width: uint32(c.W)}
	for first := 0; first < c.N; first += o.images {
		count := min(o.images, c.N-first)
		rec.Dispatch(vk.Call{Shader: &shaders.ImageAugment, Push: push.Bytes(), Label: label, Groups: pixelGroups(c.H, c.W, count),
			Bind: shaders.ImageAugmentBindings{Image: imageSlice(a.Image, size, first, count),
				Table: imageSlice(a.Table, ImageRowBytes, first, count), Augmented: imageSlice(a.Out, size, first, count)}.Ranges()})
	}
}

// ImageNormalizeConfig is the shape of an ImageNormalize: N packed images of H x W; Mean and Std of red, green and blue on
// a scale of 0 to 1.
type ImageNormalizeConfig struct {
	N, H, W   int
	Elem      Elem // of out
	Mean, Std [3]float32
}

// ImageNormalizeArgs are the buffers of an ImageNormalize: Image, packed [N][H][W]; Table [N]; Out [N][H][W][3].
type ImageNormalizeArgs struct{ Image, Table, Out vk.Range }

// ImageNormalize overwrites out = (v/255 - Mean)/Std with v = lambda*image[n] + (1-lambda)*image[partner] (mixup, Zhang et
// al. 2017, arXiv:1710.09412).
type ImageNormalize struct {
	cfg    ImageNormalizeConfig
	images int
}

// NewImageNormalize returns a *ShapeError if the configuration cannot be and a *vk.UnsupportedError if the packed images
// or one output do not fit the device's bindings.
func NewImageNormalize(dev *vk.Device, cfg ImageNormalizeConfig) (*ImageNormalize, error) {
	if err := checkImages("image normalize", cfg.N, cfg.H, cfg.W); err != nil {
		return nil, err
	}
	if err := cfg.Elem.Check(dev); err != nil {
		return nil, fmt.Errorf("kernels: image normalize: %w", err)
	}
	if all := packedBytes(cfg.H, cfg.W) * int64(cfg.N); all > dev.Limits().MaxRange {
		return nil, &vk.UnsupportedError{What: "image normalize", Needs: fmt.Sprintf("a binding of %d bytes, more than the limit of %d bytes: use a smaller batch", all, dev.Limits().MaxRange)}
	}
	images, err := imagesPerCall(dev, "image normalize", cfg.N, cfg.imageBytes())
	return &ImageNormalize{cfg: cfg, images: images}, err
}

// imageBytes is the size of one image of out.
func (c ImageNormalizeConfig) imageBytes() int64 { return 3 * c.Elem.Bytes() * int64(c.H) * int64(c.W) }

// Record appends the calls.
func (o *ImageNormalize) Record(rec *vk.Recorder, a ImageNormalizeArgs) {
	c := o.cfg
	label := fmt.Sprintf("image normalize n%d %dx%d", c.N, c.H, c.W)
	size, out := packedBytes(c.H, c.W), c.imageBytes()
	if !checkArguments(rec, label, argument{"image", &a.Image, size * int64(c.N)}, argument{"table", &a.Table, ImageRowBytes * int64(c.N)},
		argument{"out", &a.Out, out * int64(c.N)}) {
		return
	}
	for first := 0; first < c.N; first += o.images {
		count := min(o.images, c.N-first)
		push := shaders.ImageNormalizeParams{First: uint32(first), Pixels: uint32(c.H * c.W), Mean0: c.Mean[0], Mean1: c.Mean[1], Mean2: c.Mean[2],
			Std0: c.Std[0], Std1: c.Std[1], Std2: c.Std[2]}
		rec.Dispatch(vk.Call{Shader: c.Elem.pick(&shaders.ImageNormalize, &shaders.ImageNormalizeF16, &shaders.ImageNormalizeBf16), Push: push.Bytes(), Label: label, Groups: pixelGroups(c.H, c.W, count),
			Bind:  shaders.ImageNormalizeBindings{Image: a.Image, Table: a.Table, Normalized: imageSlice(a.Out, out, first, count)}.Ranges(),
			FLOPs: 9 * int64(count) * int64(c.H*c.W)})
	}
}
