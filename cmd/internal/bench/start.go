package bench

import (
	"context"
	"time"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/workload"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// Startup says where the time from a command to the end of its first step goes; the parts follow one another and add up to
// Result.FirstStepMS.
type Startup struct {
	ProcessMS   float64 `json:"process_ms"`   // from the command to its first own instruction after the flags
	DeviceMS    float64 `json:"device_ms"`    // loader, driver, device, pipeline cache from disk
	TuneMS      float64 `json:"tune_ms"`      // timing kernel variants; 0 with --no-tune
	PlanMS      float64 `json:"plan_ms"`      // the graph, its memory, its dispatches
	WeightsMS   float64 `json:"weights_ms"`   // drawing and uploading
	PipelinesMS float64 `json:"pipelines_ms"` // creating them
	BuildMS     float64 `json:"build_ms"`     // memory, descriptor sets, command buffers, the batch
	StepMS      float64 `json:"step_ms"`      // the first step; drivers that compile late do so in it
	SecondMS    float64 `json:"second_ms"`    // the step after it, for comparison; not part of the sum

	Pipelines     int     `json:"pipelines"`
	PipelinesWork float64 `json:"pipelines_work_ms"` // creating them, over all threads
	Threads       int     `json:"threads"`

	CPUMS float64 `json:"cpu_ms"` // of the whole process on all processors: what a busy machine does not change
}

// Start runs the first two steps of the work c in a process that was started at begin and has done nothing yet. open opens
// the device and sets what c lacks because it needs one.
func Start(ctx context.Context, begin time.Time, open func(*workload.Config) (*vk.Device, error), c workload.Config, o Options) (r Result, info vk.Info, err error) {
	s := &Startup{}
	at := begin
	lap := func(ms *float64) {
		now := time.Now()
		*ms = millis(now.Sub(at))
		at = now
	}
	lap(&s.ProcessMS)
	dev, err := open(&c)
	if err != nil {
		return r, info, err
	}
	defer dev.Close()
	lap(&s.DeviceMS)
	if err := workload.Tune(ctx, dev, c); err != nil {
		return r, info, err
	}
	lap(&s.TuneMS)
	w, err := workload.Declare(dev, c)
	if err != nil {
		return r, info, err
	}
	defer w.Release()
	lap(&s.PlanMS)
	if err := w.Allocate(o.Seed); err != nil {
		return r, info, err
	}
	lap(&s.WeightsMS)
	before := dev.CompileStats()
	if err := w.Realize(ctx, &vk.BuildOptions{Progress: o.Progress}); err != nil {
		return r, info, err
	}
	lap(&s.BuildMS)
	after := dev.CompileStats()
	s.PipelinesMS, s.PipelinesWork = millis(after.Wall-before.Wall), millis(after.Work-before.Work)
	s.BuildMS -= s.PipelinesMS
	s.Pipelines, s.Threads = after.Pipelines-before.Pipelines, after.Threads
	if _, err := w.Step(ctx); err != nil {
		return r, info, err
	}
	lap(&s.StepMS)
	r = of(c)
	r.FirstStepMS = millis(at.Sub(begin))
	if _, err := w.Step(ctx); err != nil {
		return r, info, err
	}
	lap(&s.SecondMS)
	r.Suite, r.Startup = "start", s
	return r, dev.Info(), nil
}
