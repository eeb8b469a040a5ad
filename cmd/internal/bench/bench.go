// Package bench times steps and kernels of a network on synthetic data and puts them beside the device's ceilings.
package bench

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/workload"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// Options say how often work is run.
type Options struct {
	Warmup  int // runs before the first that counts
	Repeats int // runs that count
	Seed    uint64

	Progress func(done, total int) // of vk.BuildOptions
}

// Result is one timing. In the suites "infer" and "train" it is of a whole step as the host sees it, in "kernels" of the
// device's timestamps of one kind of dispatch.
type Result struct {
	Suite        string  `json:"suite"`
	Name         string  `json:"name"` // "step", or what a dispatch does
	Model        string  `json:"model"`
	Size         int     `json:"size"`
	Batch        int     `json:"batch"`
	Precision    string  `json:"precision"`
	MedianMS     float64 `json:"median_ms"`
	MinMS        float64 `json:"min_ms"`
	ImagesPerS   float64 `json:"images_per_s"`
	GFLOPS       float64 `json:"gflops"`
	GBps         float64 `json:"gbps"`
	CeilingShare float64 `json:"ceiling_share"`
	FirstStepMS  float64 `json:"first_step_ms"` // from building the plan to the end of its first step

	Mode    string  `json:"mode"`              // "train" or "infer"
	Kernel  string  `json:"kernel,omitempty"`  // suite "kernels": shader
	Section string  `json:"section,omitempty"` // "forward", "backward", "optimizer"
	Count   int     `json:"count,omitempty"`   // such dispatches in a step
	Share   float64 `json:"share,omitempty"`   // of the device time of all dispatches of the step

	Bound   Bound   `json:"bound"`    // the ceiling that CeilingShare is of; in a step the one that most of FloorMS is due to
	FloorMS float64 `json:"floor_ms"` // time at the ceilings, dispatches one after another: CeilingShare of the median

	SubmitMS float64 `json:"submit_ms,omitempty"` // suites "infer" and "train": until the host has given the device its step
	HostMS   float64 `json:"host_ms,omitempty"`   // and CPU time of the host's thread for the whole step

	*Growth  // suite "scaling"
	*Startup // suite "start"
}

// of is a result of the work c without figures.
func of(c workload.Config) Result {
	return Result{Model: c.Variant.Name, Size: c.Size, Batch: c.Batch, Precision: c.Elem.String(), Mode: c.Mode.String()}
}

// timing turns the times of work that calls do one after another into a result.
func timing(c workload.Config, ceiling Ceiling, calls []vk.CallInfo, times []time.Duration) Result {
	middle := median(times)
	r := of(c)
	r.MedianMS, r.MinMS = millis(middle), millis(times[0])
	var flops, bytes int64
	least := floors{}
	for _, call := range calls {
		flops += call.FLOPs
		bytes += call.Read + call.Written
		least.add(ceiling.floor(call))
	}
	floor, bound := least.total()
	r.FloorMS, r.Bound = floor/1e6, bound
	if ns := float64(middle.Nanoseconds()); ns > 0 {
		r.ImagesPerS = float64(c.Batch) / ns * 1e9
		r.GFLOPS, r.GBps = float64(flops)/ns, float64(bytes)/ns
		r.CeilingShare = floor / ns
	}
	return r
}

// median sorts times.
func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	n := len(times)
	return (times[(n-1)/2] + times[n/2]) / 2
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// started is a workload after its first step.
type started struct {
	*workload.Workload
	calls     []vk.CallInfo
	firstStep time.Duration
}

func start(ctx context.Context, dev *vk.Device, c workload.Config, o Options, timestamps bool) (*started, error) {
	if err := workload.Tune(ctx, dev, c); err != nil {
		return nil, err
	}
	begin := time.Now()
	w, err := workload.Declare(dev, c)
	if err != nil {
		return nil, err
	}
	rec, err := w.Net.Record()
	if err != nil {
		return nil, err
	}
	s := &started{Workload: w, calls: rec.Calls(), firstStep: time.Since(begin)}
	if err = w.Allocate(o.Seed); err == nil { // drawing weights is not part of a step's start
		begin = time.Now()
		if err = w.Realize(ctx, &vk.BuildOptions{Timestamps: timestamps, Progress: o.Progress}); err == nil {
			_, err = w.Step(ctx)
		}
	}
	s.firstStep += time.Since(begin)
	if err != nil {
		w.Release()
		return nil, err
	}
	return s, nil
}

// Step times whole steps: suite "train" or "infer", by the mode of c.
func Step(ctx context.Context, dev *vk.Device, c workload.Config, ceiling Ceiling, o Options) (Result, error) {
	s, err := start(ctx, dev, c, o, false)
	if err != nil {
		return Result{}, err
	}
	defer s.Release()
	var times, submit, host []time.Duration
	for i := range o.Warmup + o.Repeats {
		clock := startHostClock()
		m, err := s.Step(ctx)
		cpu := clock.stop()
		if err != nil {
			return Result{}, err
		}
		if i >= o.Warmup {
			times, submit, host = append(times, m.Ended.Sub(m.Begin)), append(submit, m.Submitted.Sub(m.Begin)), append(host, cpu)
		}
	}
	r := timing(c, ceiling, s.calls, times)
	r.SubmitMS, r.HostMS = millis(median(submit)), millis(median(host))
	r.Suite, r.Name, r.FirstStepMS = c.Mode.String(), "step", millis(s.firstStep)
	return r, nil
}

// Kernels times every distinct dispatch of a step, those that take the most of it first. Dispatches are the same if kernel,
// section and work are. The timed steps are added to the trace, if there is one.
func Kernels(ctx context.Context, dev *vk.Device, c workload.Config, ceiling Ceiling, o Options, trace *Trace) ([]Result, error) {
	s, err := start(ctx, dev, c, o, true)
	if err != nil {
		return nil, err
	}
	defer s.Release()
	perCall := make([][]time.Duration, len(s.calls))
	for i := range o.Warmup + o.Repeats {
		m, err := s.Step(ctx)
		if err != nil {
			return nil, err
		}
		if i < o.Warmup {
			continue
		}
		times, err := s.Net.Step().Times()
		if err != nil {
			return nil, err
		}
		for call, t := range times {
			perCall[call] = append(perCall[call], t)
		}
		if trace != nil {
			if err := trace.step(dev, s.Net.Step(), c.Mode.String(), m, s.calls); err != nil {
				return nil, err
			}
		}
	}
	return distinct(c, ceiling, s.calls, perCall, millis(s.firstStep)), nil
}

// distinct puts the times of equal dispatches together.
func distinct(c workload.Config, ceiling Ceiling, calls []vk.CallInfo, times [][]time.Duration, firstStepMS float64) []Result {
	type key struct{ section, kernel, label string }
	type group struct {
		vk.CallInfo
		times []time.Duration
		count int
	}
	index := map[key]int{}
	var groups []group
	for i, call := range calls {
		k := key{call.Section, call.Shader, call.Label}
		at, ok := index[k]
		if !ok {
			at = len(groups)
			index[k] = at
			groups = append(groups, group{CallInfo: call})
		}
		groups[at].times = append(groups[at].times, times[i]...)
		groups[at].count++
	}
	var results []Result
	var total float64
	for _, g := range groups {
		r := timing(c, ceiling, []vk.CallInfo{g.CallInfo}, g.times)
		r.Suite, r.Name, r.Kernel, r.Section, r.Count, r.FirstStepMS = "kernels", g.Label, g.Shader, g.Section, g.count, firstStepMS
		total += r.MedianMS * float64(r.Count)
		results = append(results, r)
	}
	for i := range results {
		if total > 0 {
			results[i].Share = results[i].MedianMS * float64(results[i].Count) / total
		}
	}
	slices.SortStableFunc(results, func(a, b Result) int { return cmp.Compare(b.Share, a.Share) })
	return results
}
