// Package selftest holds every kernel and variant against its float64 twin on the user's own device and driver, and whole
// training steps against stored results of PyTorch. It is the one place outside tests that imports tests/ref: a command
// that proves a driver has to carry the proof's other side.
package selftest

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/train"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// Result is what became of one kernel.
type Result struct {
	Kernel  string       `json:"kernel"`
	Variant string       `json:"variant"`
	OK      bool         `json:"ok"`
	NMSE    train.Number `json:"nmse"`              // the largest of all outputs and shapes; null if something is not a number
	Hint    string       `json:"hint"`              // which switch avoids the kernel, if it is wrong
	Skipped bool         `json:"skipped,omitempty"` // the device lacks what the variant needs, and never chooses it
	Detail  string       `json:"detail,omitempty"`  // what is wrong, or what the device lacks
}

// test holds one kernel against its twin over a few shapes.
type test struct {
	kernel, variant string
	hint            string
	run             func(*bed)
	elem            kernels.Elem // how activations are stored
}

// Run runs every test on the device and reports each. It stops at the first error of the device (a lost one cannot go on),
// which it returns after having reported the kernel that met it.
func Run(ctx context.Context, dev *vk.Device, report func(Result) error) error {
	for _, t := range tests() {
		r, _, err := t.check(ctx, dev)
		if e := report(r); e != nil {
			return e
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// check runs one test; used are the shaders that ran.
func (t test) check(ctx context.Context, dev *vk.Device) (r Result, used map[string]bool, err error) {
	b := &bed{ctx: ctx, dev: dev, elem: t.elem, random: rand.New(rand.NewPCG(1, uint64(len(t.kernel)))), used: map[string]bool{}}
	t.run(b)
	b.release()
	r = Result{Kernel: t.kernel, Variant: t.variant, OK: len(b.wrong) == 0 && b.err == nil, NMSE: train.Number(b.nmse)}
	if b.err != nil {
		r.NMSE = train.Number(math.NaN())
		b.wrong = append(b.wrong, b.err.Error())
	}
	switch {
	case !r.OK:
		r.Hint = t.hint
		r.Detail = strings.Join(b.wrong[:min(len(b.wrong), 3)], "; ")
	case b.lacks != nil:
		r.Skipped, r.Detail = true, b.lacks.Error()
	}
	return r, b.used, b.err
}

// tests lists the tests in the order of a step.
func tests() []test {
	return slices.Concat(denseTests(), depthwiseTests(), normTests(), seTests(), lossTests(), imageTests(), stepTests())
}

// inHalf returns tests again for activations of 16 bits.
func inHalf(list []test) []test {
	var all []test
	for _, t := range list {
		for _, e := range []kernels.Elem{kernels.F16, kernels.BF16} {
			half := t
			half.elem, half.hint = e, hintHalf
			half.variant = strings.TrimLeft(t.variant+" "+e.String(), " ")
			all = append(all, half)
		}
	}
	return all
}

// Hints: the switch that avoids a kernel, or that there is none.
const (
	hintHalf    = "--precision f32 does without it"
	hintCoopmat = "--no-coopmat does without it"
	hintFused   = "--no-fuse does without it"
	hintDriver  = "no switch avoids it: update the driver or choose another device (--device)"
)
