package train

import (
	"context"
	"fmt"
	"math"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// state is what training keeps on the device beside the model: gradients, optimizer slots, moving averages and the
// scalars of the step and of the loss. Those aside, all are flat buffers in the model's two layouts.
type state struct {
	m      *effnetv2.Model
	method layers.Method

	grads, meanSquare, momentum *vk.Buffer // layout of Model.Params; no meanSquare with SGD
	ema, statsEMA               *vk.Buffer // layouts of Model.Params and Model.Running
	step                        *vk.Buffer // kernels.StepScalars
	lossScale                   *vk.Buffer // kernels.LossScale
}

// blob is a named buffer that a checkpoint keeps.
type blob struct {
	name string
	rng  vk.Range
}

// newState allocates the state of a model whose weights are set: mean squares of 1 (as TensorFlow's RMSProp starts),
// momenta of 0, averages equal to the weights. The loss scale is left to the caller.
func newState(ctx context.Context, m *effnetv2.Model, method layers.Method) (_ *state, err error) {
	s := &state{m: m, method: method}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	dev := m.Device()
	rec := dev.NewRecorder("initial state")
	alloc := func(b **vk.Buffer, name string, bytes int64, fill float32) {
		if err != nil {
			return
		}
		if *b, err = dev.NewBuffer(name, bytes, vk.DeviceMemory); err != nil {
			err = fmt.Errorf("train: %s of %s: %w", name, m.Variant.Name, err)
			return
		}
		rec.Fill((*b).Range(), math.Float32bits(fill))
	}
	params, running := m.Params.Bytes(), m.Running.Bytes()
	alloc(&s.grads, "gradients", params, 0)
	alloc(&s.momentum, "momentum", params, 0)
	if method == layers.RMSProp {
		alloc(&s.meanSquare, "mean squares", params, 1)
	}
	alloc(&s.ema, "averaged weights", params, 0)
	alloc(&s.statsEMA, "averaged statistics", running, 0)
	alloc(&s.step, "step", kernels.StepBytes, 0)
	alloc(&s.lossScale, "loss scale", kernels.LossScaleBytes, 0)
	if err != nil {
		return nil, err
	}
	rec.Copy(s.ema.Range(), m.Weights())
	rec.Copy(s.statsEMA.Range(), m.Stats())
	return s, runOnce(ctx, rec)
}

// runOnce builds, runs and releases a recording.
func runOnce(ctx context.Context, rec *vk.Recorder) error {
	p, err := rec.Build(ctx, nil)
	if err != nil {
		return err
	}
	defer p.Release()
	return p.Run(ctx)
}

// blobs lists what a checkpoint keeps beside State, which has the loss scale; gradients and the step's scalars are made anew
// in every step.
func (s *state) blobs() []blob {
	b := []blob{{"weights", s.m.Weights()}, {"stats", s.m.Stats()}, {"momentum", s.momentum.Range()},
		{"ema", s.ema.Range()}, {"stats_ema", s.statsEMA.Range()}}
	if s.method == layers.RMSProp {
		b = append(b, blob{"mean_square", s.meanSquare.Range()})
	}
	return b
}

// slots are the buffers that the optimizer updates.
func (s *state) slots() *layers.Slots {
	l := &layers.Slots{Momentum: s.momentum.Range(), EMA: s.ema.Range(), StatsEMA: s.statsEMA.Range()}
	if s.method == layers.RMSProp {
		l.MeanSquare = s.meanSquare.Range()
	}
	return l
}

func (s *state) release() {
	for _, b := range []*vk.Buffer{s.grads, s.meanSquare, s.momentum, s.ema, s.statsEMA, s.step, s.lossScale} {
		if b != nil {
			b.Release()
		}
	}
}
