package kernels

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// Planted is a forward convolution with one more candidate, "planted".
type Planted struct {
	ConvFwdConfig
	// Record replaces what the planted candidate appends; real is the shipped choice's.
	Record func(rec *vk.Recorder, y vk.Range, real func(*vk.Recorder))
	// Trial, if not nil, is the planted candidate's error.
	Trial error
	// Slow makes the other candidates do their work so many times over.
	Slow int
}

func (p Planted) with(shape Conv, variant string) Tunable {
	p.Conv, p.Variant = shape, variant
	return p
}

func (p Planted) candidates(dev *vk.Device) []string {
	return append(p.ConvFwdConfig.candidates(dev), "planted")
}

func (p Planted) trial(dev *vk.Device, b *trialBuffers) (func(*vk.Recorder), []output, error) {
	c, planted := p.ConvFwdConfig, p.Variant == "planted"
	if planted {
		c.Variant = ""
		if p.Trial != nil {
			return nil, nil, p.Trial
		}
	}
	real, out, err := c.trial(dev, b)
	if err != nil {
		return nil, nil, err
	}
	return func(rec *vk.Recorder) {
		if planted {
			p.Record(rec, out[0].rng, real)
			return
		}
		for range 1 + p.Slow {
			real(rec)
		}
	}, out, nil
}

// ProvenMatrices are the matrices that passed the self-check.
func ProvenMatrices(dev *vk.Device, e Elem) []vk.CoopMat { return provenMatrices(dev, e) }

// FailMatrices makes the self-check of all matrices of a type fail on a device.
func FailMatrices(dev *vk.Device, e Elem, err error) {
	real := checkMatrices
	defer func() { checkMatrices = real }()
	checkMatrices = func(*vk.Device, Elem, vk.CoopMat) error { return err }
	provenMatrices(dev, e)
}

// Ship makes a variant the shipped one of the device's class; the result undoes that.
func Ship(dev *vk.Device, variant string) (undo func()) {
	class := deviceClass(dev)
	old := shippedChoices[class]
	c := old
	c.conv = variant
	shippedChoices[class] = c
	return func() { shippedChoices[class] = old }
}

// TuneKey is the key under which a choice is kept.
func TuneKey(dev *vk.Device, c Tunable) string { return tuneKey(dev, c) }

// Candidates lists what may win.
func Candidates(dev *vk.Device, c Tunable) []string { return c.candidates(dev) }

// Agree returns an error if a variant of c gives other results than the first one.
func Agree(dev *vk.Device, c Tunable, names []string) error {
	k := &competition{t: OpenTuner(dev, &TunerOptions{CacheDir: "off"}), c: c, shape: c.shape(), bufs: newTrialBuffers(dev, c.shape().Elem)}
	defer k.release()
	want, err := k.results(context.Background(), names[0])
	if err != nil {
		return err
	}
	for _, name := range names[1:] {
		r, err := k.admit(context.Background(), name, want)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		k.entered = append(k.entered, r)
	}
	return nil
}

// With is c with another variant.
func With(c Tunable, variant string) Tunable { return c.with(c.shape(), variant) }

// Construct makes the operation of c.
func Construct(dev *vk.Device, c Tunable) (err error) {
	switch c := c.(type) {
	case ConvFwdConfig:
		_, err = NewConvFwd(dev, c)
	case ConvDgradConfig:
		_, err = NewConvDgrad(dev, c)
	case ConvWgradConfig:
		_, err = NewConvWgrad(dev, c)
	case DepthwiseFwdConfig:
		_, err = NewDepthwiseFwd(dev, c)
	case DepthwiseDgradConfig:
		_, err = NewDepthwiseDgrad(dev, c)
	case DepthwiseWgradConfig:
		_, err = NewDepthwiseWgrad(dev, c)
	case ConvBwdConfig:
		_, err = NewConvBwd(dev, c)
	case DepthwiseBwdConfig:
		_, err = NewDepthwiseBwd(dev, c)
	}
	return err
}

// AsGPU makes the tuner careful of a watchdog.
func (t *Tuner) AsGPU() { t.cpu = false }

// CachePath is the file of the tuner's choices.
func (t *Tuner) CachePath() string { return t.cache.path }

// Rejected are the variants that were disqualified, by reason.
func (t *Tuner) Rejected() map[string]string {
	all := map[string]string{}
	for _, e := range t.entries {
		maps.Copy(all, e.Rejected)
	}
	return all
}

// Winners are the choices made, sorted.
func (t *Tuner) Winners() (all []string) {
	for _, e := range t.entries {
		all = append(all, e.Winner)
	}
	slices.Sort(all)
	return all
}
