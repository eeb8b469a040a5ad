package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/table"
	"github.com/seed-8d806880/vkeffnet/cmd/internal/workload"
	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// Sweeps say what the suite "scaling" varies, one at a time around a common point.
type Sweeps struct {
	Batches []int
	Sizes   []int
	Models  []effnetv2.Variant
	Budget  time.Duration // for all points: one that would exceed it is skipped; 0: no end
}

// The sweeps.
const (
	ByBatch = "batch"
	BySize  = "size"
	ByModel = "model"
)

// Growth is what a Result of the suite "scaling" has beside the others'. A point that was skipped has no times.
type Growth struct {
	Sweep      string             `json:"sweep"`
	Dispatches int                `json:"dispatches"`
	FLOPs      int64              `json:"flops"`
	Bytes      int64              `json:"bytes"`
	Memory     workload.Memory    `json:"memory"`                // planned
	SectionMS  map[string]float64 `json:"section_ms,omitempty"`  // device time of the dispatches by section, in a step with timestamps
	GapsShare  float64            `json:"gaps_share"`            // of the fastest step, beyond the sum of SectionMS
	StepCPUMS  float64            `json:"step_cpu_ms,omitempty"` // CPU drivers: least time of a step by the clock of the processors
	Skipped    string             `json:"skipped,omitempty"`     // why the point was not measured
}

// OptimizerShare is the part of the dispatches' time that does not depend on the images: gradient norm and update.
func (g *Growth) OptimizerShare() float64 {
	var sum float64
	for _, ms := range g.SectionMS {
		sum += ms
	}
	if sum == 0 {
		return 0
	}
	return g.SectionMS["optimizer"] / sum
}

// Fastest is the result with the figures of the fastest step in place of the median's: on a machine that does other work
// too, growth shows in the fastest steps.
func (r Result) Fastest() Result {
	if r.MinMS > 0 {
		faster := r.MedianMS / r.MinMS
		r.MedianMS = r.MinMS
		r.ImagesPerS *= faster
		r.GFLOPS *= faster
		r.GBps *= faster
		r.CeilingShare *= faster
	}
	return r
}

// GrowingMS is the time by which growth is judged: of the fastest step, and on a CPU driver by the clock of the processors, on
// which other work on the machine has less influence.
func (r Result) GrowingMS() float64 {
	if r.Growth != nil && r.StepCPUMS > 0 {
		return r.StepCPUMS
	}
	return r.MinMS
}

// point is one piece of work, which several sweeps may share.
type point struct {
	workload.Config
	result Result
}

func (p *point) String() string {
	return fmt.Sprintf("%s, %s, batch %d of %dx%d", p.Mode, p.Variant.Name, p.Batch, p.Size, p.Size)
}

// sweep is the points of one table.
type sweep struct {
	by     string
	points []*point
}

// Scaling times steps of training and of inference while batch, image size and model grow, each for itself, around the
// point c. It measures the smaller work first, and skips what would exceed the budget by its FLOPs and the rate of
// the points before, and what does not fit the device. tell gets a line on every point. The results come by mode and
// sweep.
func Scaling(ctx context.Context, dev *vk.Device, c workload.Config, w Sweeps, ceiling Ceiling, o Options, tell func(string)) ([]Result, error) {
	var sweeps []sweep
	var points []*point
	add := func(c workload.Config) *point {
		for _, p := range points {
			if p.Mode == c.Mode && p.Variant.Name == c.Variant.Name && p.Batch == c.Batch && p.Size == c.Size {
				return p
			}
		}
		p := &point{Config: c}
		p.plan(dev)
		points = append(points, p)
		return p
	}
	for _, mode := range []layers.Mode{layers.Train, layers.Infer} {
		c.Mode = mode
		batch, size, model := sweep{by: ByBatch}, sweep{by: BySize}, sweep{by: ByModel}
		for _, x := range w.Batches {
			c := c
			c.Batch = x
			batch.points = append(batch.points, add(c))
		}
		for _, x := range w.Sizes {
			c := c
			c.Size = x
			size.points = append(size.points, add(c))
		}
		for _, x := range w.Models {
			c := c
			c.Variant = x
			model.points = append(model.points, add(c))
		}
		sweeps = append(sweeps, batch, size, model)
	}
	slices.SortStableFunc(points, func(a, b *point) int { return cmp.Compare(a.result.FLOPs, b.result.FLOPs) })
	s := scaler{dev: dev, ceiling: ceiling, o: o, budget: w.Budget, begin: time.Now(), rate: map[layers.Mode]float64{}}
	for i, p := range points {
		if p.result.Skipped == "" {
			if err := s.measure(ctx, p); err != nil {
				return nil, fmt.Errorf("%s: %w", p, err)
			}
		}
		what := "skipped: " + p.result.Skipped
		if p.result.Skipped == "" {
			what = table.Millis(time.Duration(p.result.MinMS*1e6)) + " ms"
		}
		tell(fmt.Sprintf("%d of %d: %s: %s", i+1, len(points), p, what))
	}
	var results []Result
	for _, s := range sweeps {
		for _, p := range s.points {
			r, growth := p.result, *p.result.Growth
			growth.Sweep = s.by
			r.Growth = &growth
			results = append(results, r)
		}
	}
	return results, nil
}

// plan fills in what is known without running, and skips a point that the device has no room for.
func (p *point) plan(dev *vk.Device) {
	g := &Growth{}
	p.result = of(p.Config)
	p.result.Suite, p.result.Name, p.result.Growth = "scaling", "step", g
	w, err := workload.Declare(dev, p.Config)
	var rec *vk.Recorder
	if err == nil {
		rec, err = w.Net.Record()
	}
	if err != nil {
		g.Skipped = err.Error()
		return
	}
	calls := rec.Calls()
	g.Dispatches, g.Memory = len(calls), w.Memory()
	for _, call := range calls {
		g.FLOPs += call.FLOPs
		g.Bytes += call.Read + call.Written
	}
	if heap := dev.Limits().Heap; g.Memory.Total > heap {
		g.Skipped = fmt.Sprintf("takes %s of memory, the device has %s", table.Bytes(g.Memory.Total), table.Bytes(heap))
	}
}

// scaler measures points within a budget.
type scaler struct {
	dev     *vk.Device
	ceiling Ceiling
	o       Options
	budget  time.Duration
	begin   time.Time
	rate    map[layers.Mode]float64 // FLOPs a second, the best so far: it grows with the work
	starts  []time.Duration         // what the points took beside their steps
}

// A slow point is timed by fewer steps than Options.Repeats: by as many as take this part of the budget.
const (
	pointBudget = 1.0 / 30
	leastSteps  = 3
)

// stampedSteps are run with timestamps; one of more than a second is enough.
const stampedSteps = 3

// predict is how long a point will take, 0 if nothing is known yet: a start like those before, and its steps.
func (s *scaler) predict(p *point) time.Duration {
	rate := s.rate[p.Mode]
	if rate == 0 || len(s.starts) == 0 {
		return 0
	}
	starts := slices.Sorted(slices.Values(s.starts))
	step := time.Duration(float64(p.result.FLOPs) / rate * float64(time.Second))
	return starts[len(starts)/2] + s.stepping(step)
}

// stepping is the time of all steps of a point: the first one, a warm one, those that are timed, and those with timestamps.
func (s *scaler) stepping(step time.Duration) time.Duration {
	stamped := stampedSteps
	if step > time.Second {
		stamped = 1
	}
	return time.Duration(1+min(s.o.Warmup, 1)+s.steps(step)+stamped) * step
}

// steps is how many steps of that length are timed.
func (s *scaler) steps(step time.Duration) int {
	n := s.o.Repeats
	if step > 0 && s.budget > 0 {
		n = min(n, int(pointBudget*float64(s.budget)/float64(step)))
	}
	return max(n, min(leastSteps, s.o.Repeats))
}

// measure times a point, or notes why not.
func (s *scaler) measure(ctx context.Context, p *point) error {
	g := p.result.Growth
	if d, left := s.predict(p), s.budget-time.Since(s.begin); s.budget > 0 {
		switch {
		case left <= 0:
			g.Skipped = fmt.Sprintf("the budget of %s is spent", s.budget)
		case d > left:
			g.Skipped = fmt.Sprintf("would take %s, of the budget of %s only %s are left", rounded(d), s.budget, rounded(left))
		}
		if g.Skipped != "" {
			return nil
		}
	}
	begin := time.Now()
	err := s.run(ctx, p)
	var missing *vk.UnsupportedError
	if errors.Is(err, vk.ErrOutOfMemory) || errors.As(err, &missing) {
		g.Skipped, err = strings.TrimSpace(err.Error()), nil
	}
	if err != nil || g.Skipped != "" {
		return err
	}
	ms := p.result.MedianMS
	s.rate[p.Mode] = max(s.rate[p.Mode], float64(g.FLOPs)/ms*1e3)
	s.starts = append(s.starts, max(time.Since(begin)-s.stepping(time.Duration(ms*1e6)), 0))
	return nil
}

// rounded formats a duration to two digits.
func rounded(d time.Duration) string {
	unit := time.Millisecond
	for d >= 100*unit {
		unit *= 10
	}
	return d.Round(unit).String()
}

func (s *scaler) run(ctx context.Context, p *point) error {
	w, err := start(ctx, s.dev, p.Config, s.o, false)
	if err != nil {
		return err
	}
	defer w.Release()
	var times []time.Duration
	var cpu time.Duration // least
	step := func() (time.Duration, error) {
		before := cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID)
		m, err := w.Step(ctx)
		if used := cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID) - before; cpu == 0 || used < cpu {
			cpu = used
		}
		return m.Ended.Sub(m.Begin), err
	}
	warm, err := time.Duration(0), error(nil)
	for i := 0; i < s.o.Warmup && (i == 0 || warm < time.Second); i++ { // a long step needs no second one to be warm
		if warm, err = step(); err != nil {
			return err
		}
	}
	for n := s.steps(warm); len(times) < n; {
		d, err := step()
		if err != nil {
			return err
		}
		times = append(times, d)
	}
	r := timing(p.Config, s.ceiling, w.calls, times)
	r.Suite, r.Name, r.Growth, r.FirstStepMS = p.result.Suite, p.result.Name, p.result.Growth, millis(w.firstStep)
	if s.dev.IsCPU() {
		r.StepCPUMS = millis(cpu)
	}
	p.result = r
	return s.sections(ctx, w, r)
}

// sections runs a few steps with timestamps and notes the fastest, beside the fastest of the timed ones.
func (s *scaler) sections(ctx context.Context, w *started, r Result) error {
	if err := w.Rebuild(ctx, &vk.BuildOptions{Timestamps: true}); err != nil {
		return err
	}
	var least float64
	for i := range stampedSteps {
		if _, err := w.Step(ctx); err != nil {
			return err
		}
		times, err := w.Net.Step().Times()
		if err != nil {
			return err
		}
		sections, sum := map[string]float64{}, 0.0
		for call, t := range times {
			sections[w.calls[call].Section] += millis(t)
			sum += millis(t)
		}
		if i == 0 || sum < least {
			r.SectionMS, least = sections, sum
		}
		if sum > 1000 {
			break
		}
	}
	r.GapsShare = max(1-least/r.MinMS, 0)
	return nil
}
