package kernels

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// Tuner chooses variants by timing them on the device. Choose answers from what was timed before, in this process or, by
// the user's cache file, in an earlier one, and notes what it cannot answer; Run times that. A nil Tuner leaves every choice
// to the table that this package ships, by device class.
//
// A variant wins only if its results are those of the reference variant within rounding, and if it is faster than the shipped
// choice by more than the noise. Choices change the order of sums and so the last bits of results: the same device with
// the same cache file gives the same bits, other choices do not. It is safe for concurrent use.
type Tuner struct {
	dev      *vk.Device
	log      *slog.Logger
	limit    time.Duration
	progress func(done, total int, label string)
	cpu      bool
	cache    tuneCache
	fixed    bool

	mu      sync.Mutex
	entries map[string]tuneEntry // by tuning key
	wanted  map[string]*tuneRequest
	choices map[string]string // what Choose returned, by tuning key
}

// TunerOptions say how a Tuner works; nil takes the defaults.
type TunerOptions struct {
	CacheDir string        // of the user's cache; empty: os.UserCacheDir()/vkeffnet; "off": none
	Limit    time.Duration // of all Runs, after which the rest keeps the shipped choice; 0: two minutes, on a CPU driver half a one
	Log      *slog.Logger  // nil: silent
	// Progress, if not nil, is told what Run is about to time, and at its end, with no label, how much it has timed.
	Progress func(done, total int, label string)
}

// tuneRequest is a configuration that Choose did not know.
type tuneRequest struct {
	config Tunable
	count  int // how often it was asked for
}

// OpenTuner reads the choices that were made on exactly this device and driver. A cache that cannot be read is passed over
// with a line in the log.
func OpenTuner(dev *vk.Device, o *TunerOptions) *Tuner {
	if o == nil {
		o = &TunerOptions{}
	}
	t := &Tuner{dev: dev, log: o.Log, limit: o.Limit, progress: o.Progress, cpu: dev.IsCPU(),
		wanted: map[string]*tuneRequest{}, choices: map[string]string{}}
	switch {
	case t.limit > 0:
	case t.cpu:
		t.limit = 30 * time.Second
	default:
		t.limit = 2 * time.Minute
	}
	if t.progress == nil {
		t.progress = func(int, int, string) {}
	}
	if t.log == nil {
		t.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	t.cache.open(dev, o.CacheDir, t.log)
	t.entries = t.cache.load(t.log)
	return t
}

// FixedTuner returns a Tuner that makes these choices, Tuner.Choices of another one, and times nothing: what it does not
// know, or the device cannot run, keeps the shipped choice.
func FixedTuner(dev *vk.Device, choices map[string]string, log *slog.Logger) *Tuner {
	t := OpenTuner(dev, &TunerOptions{CacheDir: "off", Log: log})
	t.fixed, t.choices = true, maps.Clone(choices)
	return t
}

// Choose returns the variant to construct c with; empty means the shipped one. A c that names a variant keeps it.
func (t *Tuner) Choose(c Tunable) string {
	if t == nil || c.variant() != "" {
		return c.variant()
	}
	key, candidates := tuneKey(t.dev, c), c.candidates(t.dev)
	if len(candidates) < 2 {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fixed {
		choice := t.choices[key]
		if choice != "" && !mayWin(t.dev, c, candidates, choice) {
			t.log.Warn("fixed choice is none on this device", "operation", key, "choice", choice)
			return ""
		}
		return choice
	}
	if e, ok := t.entries[key]; ok && e.holds(t.dev, c, candidates) {
		t.choices[key] = e.Winner
		return e.Winner
	}
	if r := t.wanted[key]; r != nil {
		r.count++
	} else {
		t.wanted[key] = &tuneRequest{c, 1}
	}
	return ""
}

// Choices are the variants that Choose has returned, by what they hold for: what a FixedTuner takes.
func (t *Tuner) Choices() map[string]string {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.choices)
}

// Run times what Choose could not answer, that with the most work first, and writes the cache. Variants that do not compile,
// give other results or take too long are logged and never chosen. The error is that of ctx or of a lost device; what was timed
// until then is kept.
func (t *Tuner) Run(ctx context.Context) error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	wanted, limit := t.wanted, t.limit
	t.wanted = map[string]*tuneRequest{}
	t.mu.Unlock()
	if len(wanted) == 0 || limit <= 0 {
		return nil
	}
	keys := slices.SortedFunc(maps.Keys(wanted), func(a, b string) int {
		return cmp.Or(cmp.Compare(wanted[b].work(), wanted[a].work()), cmp.Compare(a, b))
	})
	begin, made := time.Now(), map[string]tuneEntry{}
	defer func() {
		t.mu.Lock()
		maps.Copy(t.entries, made)
		t.limit -= time.Since(begin)
		t.mu.Unlock()
		if e := t.cache.store(made, t.log); e != nil {
			t.log.Warn("tuning cache not written", "error", e)
		}
	}()
	for i, key := range keys {
		if time.Since(begin) > limit {
			t.progress(i, len(keys), "")
			return nil
		}
		t.progress(i, len(keys), wanted[key].config.op()+" "+wanted[key].config.shape().String())
		e, err := t.compete(ctx, wanted[key].config)
		if e != nil {
			made[key] = *e
			t.log.Debug("tuned", "operation", key, "winner", e.Winner, "times_us", e.Times)
		}
		if err != nil {
			return err
		}
	}
	t.progress(len(keys), len(keys), "")
	return nil
}

// work is what a step spends on the configuration, roughly.
func (r *tuneRequest) work() int64 {
	v := r.config.shape()
	return int64(r.count) * (v.flops(v.N)/int64(v.filterGroups(r.config.op())) + v.XBytes() + v.YBytes())
}
