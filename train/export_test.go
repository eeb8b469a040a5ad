package train

import (
	"context"
	"io"
	"log/slog"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// Internals that tests look at.
type Source = source

var (
	NewSource   = newSource
	Permutation = permutation
)

const StreamAugment = streamAugment

func (s *source) Uniform() float64       { return s.uniform() }
func (s *source) Intn(n int) int         { return s.intn(n) }
func (s *source) Beta(a float64) float64 { return s.beta(a) }

func (a *Augment) RandAugment(s *Source, m float64, size int) (kernels.ImageOp, float32) {
	return a.randAugment(s, m, size)
}

func (a *Augment) Draw(at StepSettings, image, w, h int) (x, y, cw, ch int, row kernels.ImageRow) {
	r, row := a.draw(at, image, w, h)
	return r.x, r.y, r.w, r.h, row
}

func Shrink(px Pixels, x, y, w, h, size int) (pix []byte, sw, sh int) {
	return shrink(nil, px, rect{x, y, w, h}, size)
}

func (c EvalCrop) Region(w, h, size int) (x, y, cw, ch int) {
	r := c.region(w, h, size)
	return r.x, r.y, r.w, r.h
}

// WriteCheckpoint is what SaveCheckpoint writes, to a file that may refuse.
func WriteCheckpoint(f interface {
	io.Writer
	io.WriterAt
}, s State, blobs []Blob) error {
	return writeCheckpoint(f, s, blobs)
}

// NewProgressAt is NewProgress with a clock and the choice that it makes.
var NewProgressAt = newProgress

// NewCompilingAt is NewCompiling with what shows the line and a clock.
var NewCompilingAt = newCompiling

// TuneProgressAt is TuneProgress with a clock and the choice that it makes.
var TuneProgressAt = tuneProgress

// Loop is the inside of a run, one step at a time. The caller closes it before the device.
type Loop struct {
	t      *trainer
	s      *steps
	loader *Loader
}

// NewLoop prepares a run up to its first step.
func NewLoop(ctx context.Context, dev *vk.Device, cfg *Config) (*Loop, error) {
	l := &Loop{t: &trainer{dev: dev, cfg: *cfg, o: RunOptions{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}}}
	err := l.t.prepare(ctx)
	var sampler *Sampler
	if err == nil {
		sampler, err = NewSampler(l.t.train.Len(), cfg.Batch, cfg.Seed)
	}
	if err == nil {
		l.loader, err = NewLoader(LoaderConfig{Data: l.t.train, Next: TrainRequests(l.t.plan, sampler, cfg.Augment(), 0),
			Buffers: l.t.staging.buffers(), Workers: cfg.Workers})
	}
	if err == nil {
		l.s = newSteps(l.t, l.loader)
		l.s.stage, err = l.t.enter(ctx, 0)
	}
	if err != nil {
		l.Close()
	}
	return l, err
}

// Next is the step of the run's loop.
func (l *Loop) Next(ctx context.Context) error { return l.s.next(ctx) }

// Steps counts the steps submitted, Unread those of them whose figures have not been read.
func (l *Loop) Steps() int  { return l.t.step }
func (l *Loop) Unread() int { return len(l.s.flights) }

// LastEnded reports whether the device has ended the step submitted last.
func (l *Loop) LastEnded() (bool, error) { return l.s.flights[len(l.s.flights)-1].end.Done() }

func (l *Loop) Close() {
	if l.s != nil {
		l.s.end(context.Background())
	}
	if l.loader != nil {
		l.loader.Close()
	}
	l.t.close()
}
