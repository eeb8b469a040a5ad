package train

import (
	"context"
	"errors"
	"math"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// EvalOptions say how images are prepared and how many are computed at once.
type EvalOptions struct {
	Batch     int
	Size      int // side of the images
	Crop      EvalCrop
	Mean, Std [3]float64 // of red, green, blue on a scale of 0 to 1
	Padding   kernels.Padding
	Elem      kernels.Elem // how activations are stored
	NoFuse    bool
	Workers   int            // threads that decode; 0: one a processor
	Compiling *Compiling     // nil: silent
	Tuner     *kernels.Tuner // chooses kernel variants; nil: the table of the device's class
}

// ClassResult is what an evaluation found of one class.
type ClassResult struct {
	Class   string  `json:"class"`
	Images  int     `json:"images"`
	Top1    float64 `json:"top1"` // 0 to 1; 0 without images
	Correct int     `json:"correct"`
}

// EvalResult is what an evaluation found.
type EvalResult struct {
	Top1      float64       `json:"top1"` // 0 to 1
	Top5      float64       `json:"top5"`
	Loss      float64       `json:"loss"` // mean cross-entropy, natural logarithm
	Images    int           `json:"images"`
	PerClass  []ClassResult `json:"per_class"`
	Confusion [][]int       `json:"confusion"` // [true class][predicted class]
}

// Evaluate runs a model over a data set with its running statistics.
func Evaluate(ctx context.Context, m *effnetv2.Model, ds Dataset, o EvalOptions) (*EvalResult, error) {
	arena := layers.NewArena(m.Device())
	defer arena.Release()
	e, err := newEvaluator(ctx, m, o, arena, BatchBytes(ds, o.Batch, o.Size), vk.Range{}, vk.Range{})
	if err != nil {
		return nil, err
	}
	defer e.release()
	return e.evaluate(ctx, ds)
}

// evaluator computes logits of batches of images with one set of weights.
type evaluator struct {
	m       *effnetv2.Model
	o       EvalOptions
	step    *vk.Buffer
	staging *staging
	net     *effnetv2.Network
	pipe    *pipeline
}

// network is what an evaluation builds, over the model's own weights.
func (o *EvalOptions) network() effnetv2.BuildOptions {
	return effnetv2.BuildOptions{Mode: layers.Infer, Batch: o.Batch, H: o.Size, W: o.Size, Padding: o.Padding, Elem: o.Elem,
		NoFuse: o.NoFuse, Tuner: o.Tuner, Loss: true}
}

// newEvaluator builds the inference network over the given weights and statistics (zero: the model's own). pixelBytes is
// the room that a batch's images can take.
func newEvaluator(ctx context.Context, m *effnetv2.Model, o EvalOptions, arena *layers.Arena, pixelBytes int64, weights, stats vk.Range) (_ *evaluator, err error) {
	e := &evaluator{m: m, o: o}
	defer func() {
		if err != nil {
			e.release()
		}
	}()
	dev := m.Device()
	if e.step, err = dev.NewBuffer("step", kernels.StepBytes, vk.DeviceMemory); err != nil {
		return nil, err
	}
	build := o.network()
	build.Weights, build.Stats, build.Step = weights, stats, e.step.Range()
	if err = m.Tune(ctx, o.Tuner, build); err != nil {
		return nil, err
	}
	if e.net, err = m.Build(build); err != nil {
		return nil, err
	}
	if err = e.net.Realize(ctx, arena, o.Compiling.Options()); err != nil {
		return nil, err
	}
	results := resultOffset(resultOffset(0, e.net.Loss.PerItem.Bytes), e.net.Logits.Bytes)
	if e.staging, err = newStaging(dev, o.Batch, pixelBytes, results); err != nil {
		return nil, err
	}
	e.pipe, err = newPipeline(ctx, dev, e.net, e.staging, o.Compiling, pipelineConfig{size: o.Size, elem: o.Elem, mean: narrow(o.Mean), std: narrow(o.Std),
		step: e.step.Range(), pixels: pixelBytes}, e.net.Loss.PerItem, e.net.Logits)
	return e, err
}

func (e *evaluator) release() {
	if e.pipe != nil {
		e.pipe.release()
	}
	if e.staging != nil {
		e.staging.release()
	}
	if e.net != nil {
		e.net.Release()
	}
	if e.step != nil {
		e.step.Release()
	}
}

// run gives read each image of ds in order: its index, its loss, whether it was a top-1 and top-5 hit, its logits.
func (e *evaluator) run(ctx context.Context, ds Dataset, read func(i int, item [3]float64, logits []float64)) (err error) {
	if err := e.net.Prepare(ctx); err != nil { // the weights may have changed since the last time
		return err
	}
	loader, err := NewLoader(LoaderConfig{Data: ds, Next: EvalRequests(ds.Len(), e.o.Batch, e.o.Size, e.o.Crop),
		Buffers: e.staging.buffers(), Workers: e.o.Workers})
	if err != nil {
		return err
	}
	defer loader.Close()
	at, classes, stride := 0, e.m.Classes, layers.ClassStride(e.m.Classes)
	row := make([]float64, classes)
	finish := func(f *flight, out []byte) error {
		logits := out[resultOffset(0, e.net.Loss.PerItem.Bytes):]
		for n := range f.batch.Valid {
			for j := range row {
				row[j] = word(logits, n*stride+j)
			}
			read(at, [3]float64{word(out, 4*n), word(out, 4*n+1), word(out, 4*n+2)}, row)
			at++
		}
		return nil
	}
	var flights []flight
	defer func() { err = errors.Join(err, drain(context.WithoutCancel(ctx), flights, finish)) }()
	for {
		b, err := loader.Next(ctx)
		if errors.Is(err, ErrEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		f, err := e.pipe.submit(b, kernels.StepScalars{})
		if err != nil {
			return err
		}
		if flights = append(flights, f); len(flights) == slots-1 {
			oldest := flights[0]
			flights = flights[1:]
			if err := drain(ctx, []flight{oldest}, finish); err != nil {
				return err
			}
		}
	}
}

func (e *evaluator) evaluate(ctx context.Context, ds Dataset) (*EvalResult, error) {
	r := &EvalResult{Images: ds.Len(), PerClass: make([]ClassResult, e.m.Classes), Confusion: make([][]int, e.m.Classes)}
	for c := range r.PerClass {
		r.Confusion[c] = make([]int, e.m.Classes)
		r.PerClass[c].Class = ds.Classes()[c]
	}
	err := e.run(ctx, ds, func(i int, item [3]float64, logits []float64) {
		label := ds.Label(i)
		r.Loss += item[0]
		r.Top1 += item[1]
		r.Top5 += item[2]
		r.PerClass[label].Images++
		r.PerClass[label].Correct += int(item[1])
		r.Confusion[label][argmax(logits)]++
	})
	if err != nil {
		return nil, err
	}
	n := float64(max(r.Images, 1))
	r.Loss, r.Top1, r.Top5 = r.Loss/n, r.Top1/n, r.Top5/n
	for c := range r.PerClass {
		if p := &r.PerClass[c]; p.Images > 0 {
			p.Top1 = float64(p.Correct) / float64(p.Images)
		}
	}
	return r, nil
}

func argmax(x []float64) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

// softmax replaces logits by probabilities.
func softmax(x []float64) {
	top, sum := x[argmax(x)], 0.0
	for i, v := range x {
		x[i] = math.Exp(v - top)
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}
