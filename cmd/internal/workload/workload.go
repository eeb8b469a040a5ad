// Package workload declares a network with everything that a training step or an inference of it needs, for the commands
// that plan or time one without data.
package workload

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// Config says which work.
type Config struct {
	Variant effnetv2.Variant
	Classes int
	Batch   int
	Size    int // side of the square images
	Mode    layers.Mode
	Padding kernels.Padding
	Elem    kernels.Elem // how activations are stored
	NoFuse  bool
	Method  layers.Method  // optimizer of a training step
	Tuner   *kernels.Tuner // chooses kernel variants; nil: the table of the device's class
}

// Workload is one network's plan and the flat buffers that it works on. None has memory until Allocate.
type Workload struct {
	Config
	Model *effnetv2.Model
	Net   *effnetv2.Network
	build effnetv2.BuildOptions

	dev     *vk.Device
	step    *vk.Buffer
	scale   *vk.Buffer // of the loss
	grads   *vk.Buffer
	slots   []*vk.Buffer // of the optimizer: mean square with RMSProp, momentum, moving averages
	meanSqr *vk.Buffer   // the slot that starts at 1; nil with SGD
	arena   *layers.Arena
	steps   uint32 // run so far
	seed    uint64
}

// Declare plans the work: in training a whole step with loss, backward pass and optimizer, in inference the forward pass.
func Declare(dev *vk.Device, c Config) (*Workload, error) {
	m, err := effnetv2.New(dev, c.Variant, c.Classes)
	if err != nil {
		return nil, err
	}
	w := &Workload{Config: c, Model: m, dev: dev}
	o := effnetv2.BuildOptions{Mode: c.Mode, Batch: c.Batch, H: c.Size, W: c.Size, Padding: c.Padding, Elem: c.Elem, NoFuse: c.NoFuse, Tuner: c.Tuner}
	if c.Mode == layers.Train {
		slot := func(name string, set *layers.ParamSet) *vk.Buffer {
			b := dev.DeclareBuffer(name, set.Bytes())
			w.slots = append(w.slots, b)
			return b
		}
		w.step = dev.DeclareBuffer("step", kernels.StepBytes)
		w.scale = dev.DeclareBuffer("loss scale", kernels.LossScaleBytes)
		w.grads = dev.DeclareBuffer("gradients", m.Params.Bytes())
		o.Step, o.LossScale, o.Loss, o.Grads, o.Method = w.step.Range(), w.scale.Range(), true, w.grads.Range(), c.Method
		o.Slots = &layers.Slots{Momentum: slot("momentum", m.Params).Range(), EMA: slot("moving average", m.Params).Range(),
			StatsEMA: slot("moving average of statistics", m.Running).Range()}
		if c.Method == layers.RMSProp {
			w.meanSqr = slot("mean square", m.Params)
			o.Slots.MeanSquare = w.meanSqr.Range()
		}
	}
	w.build = o
	w.Net, err = m.Build(o)
	return w, err
}

// Tune lets the tuner of c time what the work chooses from; Declare it afterwards.
func Tune(ctx context.Context, dev *vk.Device, c Config) error {
	if c.Tuner == nil {
		return nil
	}
	w, err := Declare(dev, c)
	if err != nil {
		return err
	}
	return w.Model.Tune(ctx, c.Tuner, w.build)
}

// Memory is what the work takes on the device, in bytes.
type Memory struct {
	Weights          int64 `json:"weights"`           // and running statistics
	Gradients        int64 `json:"gradients"`         // of the weights
	Optimizer        int64 `json:"optimizer"`         // slots and moving averages
	Activations      int64 `json:"activations"`       // arena, values of disjoint life sharing memory
	ActivationsNaive int64 `json:"activations_naive"` // the same values without sharing; not part of Total
	Staging          int64 `json:"staging"`           // inputs and outputs that the host touches; in inference also the folded weights
	Total            int64 `json:"total"`
}

// Memory adds up the buffers of the work.
func (w *Workload) Memory() Memory {
	m := Memory{Weights: w.Model.Params.Bytes() + w.Model.Running.Bytes(), Activations: w.Net.ArenaBytes(),
		ActivationsNaive: w.Net.NaiveBytes(), Staging: w.Net.PersistentBytes()}
	if w.Mode == layers.Train {
		m.Gradients = w.grads.Size()
		m.Staging += w.step.Size() + w.scale.Size()
		for _, s := range w.slots {
			m.Optimizer += s.Size()
		}
	}
	m.Total = m.Weights + m.Gradients + m.Optimizer + m.Activations + m.Staging
	return m
}

// LargestBatch is the largest batch whose work takes at most that many bytes of the device; 0 if not even one image fits.
func LargestBatch(dev *vk.Device, c Config, bytes int64) (int, error) {
	fits := func(batch int) bool {
		c.Batch = batch
		w, err := Declare(dev, c)
		return err == nil && w.Memory().Total <= bytes
	}
	c.Batch = 1
	if _, err := Declare(dev, c); err != nil {
		return 0, err
	}
	if !fits(1) {
		return 0, nil
	}
	good, bad := 1, 2
	for fits(bad) {
		good, bad = bad, 2*bad
	}
	for bad-good > 1 {
		if mid := (good + bad) / 2; fits(mid) {
			good = mid
		} else {
			bad = mid
		}
	}
	return good, nil
}

// Allocate gives weights, gradients and slots their memory and draws the weights.
func (w *Workload) Allocate(seed uint64) error {
	w.seed = seed
	for _, b := range w.flat() {
		if err := b.Allocate(); err != nil {
			return fmt.Errorf("%s: %w", b.Name(), err)
		}
	}
	if err := w.Model.Init(seed); err != nil {
		return err
	}
	if w.scale != nil {
		if err := w.dev.Upload(w.scale.Range(), kernels.NewLossScale(w.Elem).Encode()); err != nil {
			return err
		}
	}
	if w.meanSqr != nil { // starts at 1, as in TensorFlow
		ones := make([]byte, w.meanSqr.Size())
		for i := 0; i < len(ones); i += 4 {
			binary.LittleEndian.PutUint32(ones[i:], math.Float32bits(1))
		}
		return w.dev.Upload(w.meanSqr.Range(), ones)
	}
	return nil
}

// flat lists the buffers beside the model's own.
func (w *Workload) flat() []*vk.Buffer {
	if w.Mode != layers.Train {
		return nil
	}
	return append([]*vk.Buffer{w.step, w.scale, w.grads}, w.slots...)
}

// Realize gives the plan its memory, compiles its programs and uploads images of normally distributed values and labels.
func (w *Workload) Realize(ctx context.Context, o *vk.BuildOptions) error {
	w.arena = layers.NewArena(w.dev)
	if err := w.Net.Realize(ctx, w.arena, o); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(w.seed, 0))
	image := make([]float32, w.Net.Image.Bytes/w.Elem.Bytes())
	for i := range image {
		image[i] = float32(random.NormFloat64())
	}
	if err := w.dev.Upload(w.Net.Image.Range(), w.Elem.Append(nil, image)); err != nil {
		return err
	}
	if w.Net.Loss == nil {
		return w.Net.Prepare(ctx)
	}
	var labels []byte
	for range w.Batch {
		class := random.Uint32N(uint32(w.Classes))
		for _, word := range []uint32{class, class, math.Float32bits(1), math.Float32bits(1)} {
			labels = binary.LittleEndian.AppendUint32(labels, word)
		}
	}
	return w.dev.Upload(w.Net.Loss.Labels.Range(), labels)
}

// Rebuild compiles the programs of a realized workload again, with other options.
func (w *Workload) Rebuild(ctx context.Context, o *vk.BuildOptions) error {
	return w.Net.Realize(ctx, w.arena, o)
}

// Moments are when the host did what of a step.
type Moments struct {
	Begin     time.Time
	Encoded   time.Time // the step's scalars have been handed over; in inference, which has none, Begin
	Submitted time.Time // the device has its work
	Ended     time.Time // and has done it
}

// Step runs one step and waits for its end; in training with the published recipe's regularisation and a small rate.
func (w *Workload) Step(ctx context.Context) (m Moments, err error) {
	m.Begin = time.Now()
	m.Encoded = m.Begin
	if w.Mode == layers.Train {
		w.steps++
		scalars := kernels.StepScalars{Step: w.steps, LR: 1e-4, Momentum: 0.9, Rho: 0.9, Eps: 1e-3, WeightDecay: 1e-5, EMADecay: 0.9999,
			Dropout: float32(w.Variant.Dropout), DropPath: float32(w.Variant.DropPath), Smoothing: 0.1}
		var data [kernels.StepBytes]byte
		scalars.Encode(data[:])
		if err := w.dev.Upload(w.step.Range(), data[:]); err != nil {
			return m, err
		}
		m.Encoded = time.Now()
	}
	s, err := w.Net.Step().Submit()
	if err != nil {
		return m, err
	}
	m.Submitted = time.Now()
	err = s.Wait(ctx)
	m.Ended = time.Now()
	return m, err
}

// Release frees everything.
func (w *Workload) Release() {
	w.Net.Release()
	if w.arena != nil {
		w.arena.Release()
	}
	for _, b := range w.flat() {
		b.Release()
	}
	w.Model.Release()
}
