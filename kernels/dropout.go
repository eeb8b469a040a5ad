package kernels

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// keepStream is the Philox stream of stochastic depth.
const keepStream = 2

// DropoutConfig is the shape of a Dropout.
type DropoutConfig struct {
	N, C   int     // C a multiple of 8
	Stream uint32  // Philox stream: one per dropout of the network
	Scale  float32 // factor on top of 1/(1-p)
}

// DropoutArgs are the buffers of a Dropout: X and Y [N C], Step the step buffer.
type DropoutArgs struct{ X, Y, Step vk.Range }

// Dropout computes y = x*mask/(1-p)*scale and overwrites y, p being the step buffer's Dropout. mask is 1 where element
// i's uniform number U >= p: word i%4 of Philox counter (step, Stream, i/4). Applied to dy it is its own backward pass.
// Source: Srivastava et al. 2014, in the inverted form.
type Dropout struct{ cfg DropoutConfig }

// NewDropout returns a *ShapeError if the configuration cannot be.
func NewDropout(_ *vk.Device, cfg DropoutConfig) (*Dropout, error) {
	if cfg.N < 1 || cfg.C < 8 || cfg.C%8 != 0 {
		return nil, &ShapeError{Op: "dropout", Got: fmt.Sprintf("[%d %d]", cfg.N, cfg.C), Want: "at least 1 image, C a multiple of 8"}
	}
	return &Dropout{cfg}, nil
}

// Record appends the call.
func (o *Dropout) Record(rec *vk.Recorder, a DropoutArgs) {
	count := o.cfg.N * o.cfg.C
	label := fmt.Sprintf("dropout n%d %d", o.cfg.N, o.cfg.C)
	if !checkArguments(rec, label, argument{"x", &a.X, 4 * int64(count)}, argument{"y", &a.Y, 4 * int64(count)}, argument{"step", &a.Step, StepBytes}) {
		return
	}
	push := shaders.DropoutParams{Count4: uint32(count / 4), Stream: o.cfg.Stream, Scale: o.cfg.Scale}
	rec.Dispatch(vk.Call{Shader: &shaders.Dropout, Push: push.Bytes(), Label: label, FLOPs: 2 * int64(count),
		Bind: shaders.DropoutBindings{X: a.X, Step: a.Step, Y: a.Y}.Ranges(), Groups: [3]uint32{uint32(ceilDiv(count/4, 64)), 1, 1}})
}

// KeepMaskConfig is the shape of a KeepMask.
type KeepMaskConfig struct{ Blocks, N int }

// KeepMaskArgs are the buffers of a KeepMask: Step the step buffer, Keep [Blocks][N].
type KeepMaskArgs struct{ Step, Keep vk.Range }

// KeepMask draws the factors of stochastic depth: keep[b][n] = floor(1-p+U)/(1-p) with p = step.DropPath*b/Blocks, U the
// first word of Philox counter (step, 2, b*N+n). It overwrites keep. Source: Huang et al. 2016, arXiv:1603.09382;
// google/automl efficientnetv2/utils.py, drop_connect.
type KeepMask struct{ cfg KeepMaskConfig }

// NewKeepMask returns a *ShapeError if the configuration cannot be.
func NewKeepMask(_ *vk.Device, cfg KeepMaskConfig) (*KeepMask, error) {
	if cfg.Blocks < 1 || cfg.N < 1 {
		return nil, &ShapeError{Op: "keep mask", Got: fmt.Sprintf("%d blocks, %d images", cfg.Blocks, cfg.N), Want: "at least 1 of each"}
	}
	return &KeepMask{cfg}, nil
}

// Record appends the call.
func (o *KeepMask) Record(rec *vk.Recorder, a KeepMaskArgs) {
	count := o.cfg.Blocks * o.cfg.N
	label := fmt.Sprintf("keep mask n%d %d blocks", o.cfg.N, o.cfg.Blocks)
	if !checkArguments(rec, label, argument{"step", &a.Step, StepBytes}, argument{"keep", &a.Keep, 4 * int64(count)}) {
		return
	}
	push := shaders.KeepMaskParams{Blocks: uint32(o.cfg.Blocks), N: uint32(o.cfg.N), Stream: keepStream}
	rec.Dispatch(vk.Call{Shader: &shaders.KeepMask, Push: push.Bytes(), Label: label,
		Bind: shaders.KeepMaskBindings{Step: a.Step, Keep: a.Keep}.Ranges(), Groups: [3]uint32{uint32(ceilDiv(count, 64)), 1, 1}})
}
