package kernels

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// How a competition goes. A CPU driver, on which other programs run, is timed in few long dispatches, a GPU in many short ones.
const (
	tuneRounds    = 7
	tuneAll       = 2                      // rounds that every candidate runs
	tuneHopeless  = 1.25                   // times the best: no more rounds
	tuneMargin    = 0.97                   // a winner's time relative to that of the shipped choice
	tuneTrialTime = 4 * time.Millisecond   // of one dispatch; the shape shrinks until the shipped choice takes no longer
	tuneWatchdog  = 100 * time.Millisecond // expected time of a dispatch that is not tried
	tuneSlice     = 16                     // the share of the work by which that is expected
)

// candidate is one variant in a competition.
type candidate struct {
	name    string
	program *vk.Program // dispatches the operation several times
	calls   int         // of the operation
	samples []time.Duration
}

func (c *candidate) median() time.Duration {
	s := slices.Sorted(slices.Values(c.samples))
	return s[len(s)/2]
}

func (c *candidate) least() time.Duration { return slices.Min(c.samples) }

// competition is the timing of one operation's candidates.
type competition struct {
	t       *Tuner
	c       Tunable
	shape   Conv // what is timed: c's, or a part of it
	bufs    *trialBuffers
	entry   *tuneEntry
	trying  string // what runs, or ran last
	entered []*candidate
}

// compete times the candidates of c. The entry is nil if nothing can be said; the error ends all tuning.
func (t *Tuner) compete(ctx context.Context, c Tunable) (*tuneEntry, error) {
	names := c.candidates(t.dev)
	k := &competition{t: t, c: c, shape: c.shape().shrink(tunePixels(t.dev, c)), bufs: newTrialBuffers(t.dev, c.shape().Elem), entry: newTuneEntry(c, names)}
	defer k.release()
	err := k.run(ctx, names)
	switch {
	case err == nil:
		return k.entry, nil
	case errors.Is(err, vk.ErrDeviceLost):
		k.reject(k.trying, err.Error()) // and is kept, so that the next start does not lose the device again
		return k.entry, err
	case ctx.Err() != nil:
		return nil, err
	}
	t.log.Warn("cannot tune", "operation", c.op(), "shape", k.shape.String(), "error", err)
	return nil, nil
}

func (k *competition) release() {
	for _, r := range k.entered {
		r.program.Release()
	}
	k.bufs.release()
}

// reject disqualifies a variant. If it is the shipped choice, the reference takes its place.
func (k *competition) reject(name, why string) {
	k.entry.Rejected[name] = why
	k.t.log.Warn("variant disqualified", "operation", k.c.op(), "shape", k.shape.String(), "variant", name, "reason", why)
	if k.entry.Winner == name {
		k.entry.Winner = k.c.reference(k.t.dev)
	}
}

func (k *competition) run(ctx context.Context, names []string) error {
	if !k.t.cpu { // whose speed is known well enough
		k.trying = names[0]
		took, err := k.expect(ctx, names[0])
		if err != nil {
			return err
		}
		if took > tuneTrialTime {
			k.shape = k.shape.shrink(max(int(float64(k.shape.N*k.shape.P*k.shape.Q)*float64(tuneTrialTime)/float64(took)), 1))
		}
	}
	k.trying = k.c.reference(k.t.dev)
	want, err := k.results(ctx, k.trying)
	if err != nil {
		return err
	}
	for _, name := range names {
		k.trying = name
		r, err := k.admit(ctx, name, want)
		switch {
		case err == nil:
			k.entered = append(k.entered, r)
		case ctx.Err() != nil || errors.Is(err, vk.ErrDeviceLost):
			return err
		default:
			k.reject(name, err.Error())
		}
	}
	running := k.entered
	for round := range tuneRounds {
		if round == tuneAll {
			running = hopeful(running, names[0])
		}
		for _, r := range running {
			k.trying = r.name
			d, err := elapsed(ctx, r.program)
			if err != nil {
				return err
			}
			r.samples = append(r.samples, d/time.Duration(r.calls))
		}
	}
	k.decide(names[0])
	return nil
}

// decide enters the times and the winner, by medians. The shipped choice keeps its place unless another is clearly faster, also by
// the shortest times, which other programs disturb least.
func (k *competition) decide(shipped string) {
	var best, least time.Duration // 0: the shipped choice is disqualified
	for _, r := range k.entered {
		k.entry.Times[r.name] = float64(r.median().Nanoseconds()) / 1e3
		if r.name == shipped {
			best, least = time.Duration(float64(r.median())*tuneMargin), time.Duration(float64(r.least())*tuneMargin)
		}
	}
	for _, r := range k.entered {
		if best == 0 || r.median() < best && (least == 0 || r.least() < least) {
			k.entry.Winner, best = r.name, r.median()
		}
	}
}

// hopeful returns the candidates that may still win, and the shipped one, which a busy moment must not throw out.
func hopeful(all []*candidate, shipped string) (left []*candidate) {
	least := time.Duration(1<<63 - 1)
	for _, r := range all {
		least = min(least, r.least())
	}
	for _, r := range all {
		if r.name == shipped || float64(r.least()) <= tuneHopeless*float64(least) {
			left = append(left, r)
		}
	}
	return left
}

// admit checks a candidate's results and readies its program. The error says what speaks against it.
func (k *competition) admit(ctx context.Context, name string, want []result) (*candidate, error) {
	if !k.t.cpu { // CPU drivers have no watchdog
		if took, err := k.expect(ctx, name); err != nil {
			return nil, err
		} else if took > tuneWatchdog {
			return nil, fmt.Errorf("a dispatch would take %v", took)
		}
	}
	got, err := k.results(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := compareResults(got, want, name, k.shape.Elem); err != nil {
		return nil, err
	}
	calls, warmups := 10, 2 // the first replay of a program measures it
	if k.t.cpu {
		calls, warmups = 1, 1
	}
	p, err := k.program(ctx, k.c.with(k.shape, name), k.bufs, calls)
	if err != nil {
		return nil, err
	}
	for range warmups {
		if _, err := elapsed(ctx, p); err != nil {
			p.Release()
			return nil, err
		}
	}
	return &candidate{name: name, program: p, calls: calls}, nil
}

// program dispatches c several times.
func (k *competition) program(ctx context.Context, c Tunable, b *trialBuffers, calls int) (*vk.Program, error) {
	record, _, err := c.trial(k.t.dev, b)
	if err != nil {
		return nil, err
	}
	rec := k.t.dev.NewRecorder("tuning " + c.op())
	for range calls {
		record(rec)
	}
	p, err := rec.Build(ctx, &vk.BuildOptions{Timestamps: true})
	if errors.As(err, new(*vk.UnsupportedError)) {
		return rec.Build(ctx, nil)
	}
	return p, err
}

// elapsed runs p and returns the device's time of it; the host's where the device has no timestamps.
func elapsed(ctx context.Context, p *vk.Program) (time.Duration, error) {
	begin := time.Now()
	if err := p.Run(ctx); err != nil {
		return 0, err
	}
	host := time.Since(begin)
	times, err := p.Times()
	if err != nil {
		return host, nil
	}
	var sum time.Duration
	for _, d := range times {
		sum += d
	}
	return sum, nil
}

// expect returns how long a dispatch should take, by one of a slice of the work.
func (k *competition) expect(ctx context.Context, variant string) (time.Duration, error) {
	pixels := k.shape.N * k.shape.P * k.shape.Q
	slice := k.shape.shrink(pixels / tuneSlice)
	b := newTrialBuffers(k.t.dev, slice.Elem)
	defer b.release()
	p, err := k.program(ctx, k.c.with(slice, variant), b, 1)
	if err != nil {
		return 0, err
	}
	defer p.Release()
	if _, err := elapsed(ctx, p); err != nil { // the first one may compile
		return 0, err
	}
	d, err := elapsed(ctx, p)
	return d * time.Duration(pixels) / time.Duration(slice.N*slice.P*slice.Q), err
}

// results runs a variant once.
func (k *competition) results(ctx context.Context, variant string) ([]result, error) {
	return trialResults(ctx, k.t.dev, k.bufs, k.c.with(k.shape, variant))
}
