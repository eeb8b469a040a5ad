package bench

import (
	"time"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/workload"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// Floor is Ceiling.floor.
var Floor = Ceiling.floor

// AddStep adds a step whose device spans count from zero.
func (t *Trace) AddStep(mode string, m workload.Moments, zero time.Time, spans []vk.Span, calls []vk.CallInfo) {
	t.add(mode, m, zero, spans, calls)
}

// Predict is how long a training point of so many FLOPs is thought to take after points that reached rate FLOPs a second
// and needed starts beside their steps.
func Predict(o Options, budget time.Duration, rate float64, starts []time.Duration, flops int64) time.Duration {
	s := scaler{o: o, budget: budget, rate: map[layers.Mode]float64{layers.Train: rate}, starts: starts}
	p := &point{Config: workload.Config{Mode: layers.Train}}
	p.result.Growth = &Growth{FLOPs: flops}
	return s.predict(p)
}
