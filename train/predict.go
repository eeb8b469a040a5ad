package train

import (
	"context"
	"image"
	"image/draw"
	"sort"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// PredictOptions change what a weights file says; nil or zero takes what it says.
type PredictOptions struct {
	Top    int          // guesses an image; 0: 5, or all classes if there are fewer
	Batch  int          // images at once; 0: 8
	Elem   kernels.Elem // how activations are stored
	NoFuse bool
	Tuner  *kernels.Tuner // chooses kernel variants; nil: the table of the device's class

	Compiling *Compiling // nil: silent
}

// Guess is a class and its probability.
type Guess struct {
	Class int     `json:"index"`
	Name  string  `json:"class"`
	P     float64 `json:"p"`
}

// Predictor classifies images with the network of a weights file. It is for one goroutine at a time.
type Predictor struct {
	m     *effnetv2.Model
	meta  *effnetv2.Metadata
	top   int
	arena *layers.Arena
	eval  *evaluator
}

// NewPredictor loads a weights file and builds its network on the device. Close the predictor before the device.
func NewPredictor(dev *vk.Device, path string, o *PredictOptions) (_ *Predictor, err error) {
	if o == nil {
		o = &PredictOptions{}
	}
	p := &Predictor{top: o.Top, arena: layers.NewArena(dev)}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if p.m, p.meta, err = OpenModel(dev, path); err != nil {
		return nil, err
	}
	if p.top <= 0 {
		p.top = 5
	}
	p.top = min(p.top, p.m.Classes)
	batch := o.Batch
	if batch <= 0 {
		batch = 8
	}
	e, err := EvalOptionsOf(p.meta, batch)
	if err != nil {
		return nil, err
	}
	e.Elem, e.NoFuse, e.Tuner, e.Compiling = o.Elem, o.NoFuse, o.Tuner, o.Compiling
	p.eval, err = newEvaluator(context.Background(), p.m, e, p.arena, BatchBytes(pictures{}, batch, e.Size), vk.Range{}, vk.Range{})
	return p, err
}

// Metadata is what the weights file says, with what it lacks filled in.
func (p *Predictor) Metadata() *effnetv2.Metadata { return p.meta }

// Predict returns the likeliest classes of each image, the likeliest first. What is transparent counts as white.
func (p *Predictor) Predict(ctx context.Context, images ...image.Image) ([][]Guess, error) {
	set := make(pictures, len(images))
	for i, im := range images {
		set[i] = pixelsOf(im)
	}
	return p.PredictPixels(ctx, set...)
}

// PredictPixels is Predict for images that DecodeImage or ReadImage returned.
func (p *Predictor) PredictPixels(ctx context.Context, images ...Pixels) ([][]Guess, error) {
	out := make([][]Guess, len(images))
	if len(images) == 0 {
		return out, nil
	}
	err := p.eval.run(ctx, pictures(images), func(i int, _ [3]float64, logits []float64) {
		softmax(logits)
		all := make([]Guess, len(logits))
		for c, v := range logits {
			all[c] = Guess{c, p.meta.ClassNames[c], v}
		}
		sort.SliceStable(all, func(a, b int) bool { return all[a].P > all[b].P })
		out[i] = all[:p.top]
	})
	return out, err
}

// Close frees the network.
func (p *Predictor) Close() {
	if p.eval != nil {
		p.eval.release()
	}
	if p.m != nil {
		p.m.Release()
	}
	p.arena.Release()
}

// pictures is a Dataset of images in memory without labels.
type pictures []Pixels

func (p pictures) Len() int                    { return len(p) }
func (p pictures) Classes() []string           { return []string{"unknown"} }
func (p pictures) Label(int) int               { return 0 }
func (p pictures) Image(i int) (Pixels, error) { return p[i], nil }
func (p pictures) Name(int) string             { return "image" }

// pixelsOf converts any image, over white.
func pixelsOf(m image.Image) Pixels {
	canvas := image.NewRGBA(image.Rect(0, 0, m.Bounds().Dx(), m.Bounds().Dy()))
	draw.Draw(canvas, canvas.Rect, image.White, image.Point{}, draw.Src)
	draw.Draw(canvas, canvas.Rect, m, m.Bounds().Min, draw.Over)
	return Pixels{W: canvas.Rect.Dx(), H: canvas.Rect.Dy(), Pix: canvas.Pix}
}
