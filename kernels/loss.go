package kernels

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// checkClasses reports a classification that cannot be.
func checkClasses(op string, n, classes, ld int) error {
	if n < 1 || classes < 2 || ld < classes || ld%8 != 0 {
		return &ShapeError{Op: op, Got: fmt.Sprintf("%d images, %d classes in %d columns", n, classes, ld),
			Want: "at least 1 image, 2 classes, and a multiple of 8 columns"}
	}
	return nil
}

// TargetsConfig is the shape of a Targets: N images, Classes in Ld columns, a multiple of 8.
type TargetsConfig struct{ N, Classes, Ld int }

// TargetsArgs are the buffers of a Targets: Labels [N]{uint32 a, b; float32 lambda, weight}, Step the step buffer,
// Targets [N][Ld].
type TargetsArgs struct{ Labels, Step, Targets vk.Range }

// Targets overwrites targets[n][j] = weight*((1-eps)*(lambda*[j=a] + (1-lambda)*[j=b]) + eps/Classes), eps being the step
// buffer's Smoothing, and 0 in the columns from Classes on. Sources: mixup (Zhang et al. 2017, arXiv:1710.09412), label
// smoothing (Szegedy et al. 2015, arXiv:1512.00567, section 7), in this order as google/automl efficientnetv2 has it.
type Targets struct{ cfg TargetsConfig }

// NewTargets returns a *ShapeError if the configuration cannot be.
func NewTargets(_ *vk.Device, cfg TargetsConfig) (*Targets, error) {
	return &Targets{cfg}, checkClasses("targets", cfg.N, cfg.Classes, cfg.Ld)
}

// Record appends the call.
func (o *Targets) Record(rec *vk.Recorder, a TargetsArgs) {
	c := o.cfg
	label := fmt.Sprintf("targets n%d %d", c.N, c.Classes)
	if !checkArguments(rec, label, argument{"labels", &a.Labels, 16 * int64(c.N)}, argument{"step", &a.Step, StepBytes},
		argument{"targets", &a.Targets, 4 * int64(c.N*c.Ld)}) {
		return
	}
	push := shaders.TargetsParams{N: uint32(c.N), Classes: uint32(c.Classes), Ld: uint32(c.Ld)}
	rec.Dispatch(vk.Call{Shader: &shaders.Targets, Push: push.Bytes(), Label: label,
		Bind:   shaders.TargetsBindings{Labels: a.Labels, Step: a.Step, Targets: a.Targets}.Ranges(),
		Groups: [3]uint32{uint32(ceilDiv(c.N*c.Ld, 64)), 1, 1}})
}

// LossConfig is the shape of a Loss. Without Grad there is no DLogits.
type LossConfig struct {
	N, Classes, Ld int
	Grad           bool
}

// LossArgs are the buffers of a Loss: Logits, Targets and DLogits [N][Ld], LossScale the loss scale's, Out [N][4]. Without
// Grad there are no DLogits and no LossScale.
type LossArgs struct{ Logits, Targets, LossScale, DLogits, Out vk.Range }

// Loss is softmax cross-entropy with soft targets t: out[n] = {-sum t*log softmax(z), top-1, top-5, 0} and
// dlogits = (softmax(z)*sum t - t)*scale/N with the loss scale's Factor; both are overwritten. The largest target (of equal ones the first) is a
// top-k hit if fewer than k logits rank before its own: greater, or equal at a smaller index. An image without target
// mass has loss 0 and no hits. Columns from Classes on are ignored and get gradient 0. Sums are float32.
type Loss struct{ cfg LossConfig }

// NewLoss returns a *ShapeError if the configuration cannot be.
func NewLoss(_ *vk.Device, cfg LossConfig) (*Loss, error) {
	return &Loss{cfg}, checkClasses("loss", cfg.N, cfg.Classes, cfg.Ld)
}

// Record appends the call.
func (o *Loss) Record(rec *vk.Recorder, a LossArgs) {
	c := o.cfg
	label := fmt.Sprintf("loss n%d %d", c.N, c.Classes)
	size := 4 * int64(c.N*c.Ld)
	if !checkArguments(rec, label, argument{"logits", &a.Logits, size}, argument{"targets", &a.Targets, size},
		argument{"loss scale", &a.LossScale, when(c.Grad, LossScaleBytes)}, argument{"dlogits", &a.DLogits, when(c.Grad, size)}, argument{"out", &a.Out, 16 * int64(c.N)}) {
		return
	}
	push := shaders.LossParams{N: uint32(c.N), Classes: uint32(c.Classes), Ld: uint32(c.Ld)}
	x := min(c.N, int(rec.Device().Limits().MaxGroups))
	rec.Dispatch(vk.Call{Shader: &shaders.Loss, Spec: shaders.LossSpec{Grad: c.Grad}.Words(), Push: push.Bytes(), Label: label,
		Bind:   shaders.LossBindings{Logits: a.Logits, Targets: a.Targets, LossScale: a.LossScale, Dlogits: a.DLogits, Result: a.Out}.Ranges(),
		Groups: [3]uint32{uint32(x), uint32(ceilDiv(c.N, x)), 1}, FLOPs: 8 * int64(c.N*c.Classes)})
}

// BiasGradConfig is the shape of a BiasGrad.
type BiasGradConfig struct{ N, K int }

// BiasGradArgs are the buffers of a BiasGrad: DY [N K], DB [K].
type BiasGradArgs struct{ DY, DB vk.Range }

// BiasGrad overwrites db[k] = sum over n of dy[n,k], added in the order of n in float32.
type BiasGrad struct{ cfg BiasGradConfig }

// NewBiasGrad returns a *ShapeError if the configuration cannot be.
func NewBiasGrad(_ *vk.Device, cfg BiasGradConfig) (*BiasGrad, error) {
	if cfg.N < 1 || cfg.K < 1 {
		return nil, &ShapeError{Op: "bias grad", Got: fmt.Sprintf("[%d %d]", cfg.N, cfg.K), Want: "at least [1 1]"}
	}
	return &BiasGrad{cfg}, nil
}

// Record appends the call.
func (o *BiasGrad) Record(rec *vk.Recorder, a BiasGradArgs) {
	c := o.cfg
	label := fmt.Sprintf("bias grad n%d %d", c.N, c.K)
	if !checkArguments(rec, label, argument{"dy", &a.DY, 4 * int64(c.N*c.K)}, argument{"db", &a.DB, 4 * int64(c.K)}) {
		return
	}
	push := shaders.BiasGradParams{N: uint32(c.N), K: uint32(c.K)}
	rec.Dispatch(vk.Call{Shader: &shaders.BiasGrad, Push: push.Bytes(), Label: label, FLOPs: int64(c.N * c.K),
		Bind: shaders.BiasGradBindings{Dy: a.DY, Db: a.DB}.Ranges(), Groups: [3]uint32{uint32(ceilDiv(c.K, 64)), 1, 1}})
}

// MetricsConfig is the shape of a Metrics.
type MetricsConfig struct{ N int }

// MetricsArgs are the buffers of a Metrics: Loss [N][4] of kernels.Loss, Norm [4] and LossScale of GradNorm, Out [8].
type MetricsArgs struct{ Loss, Norm, LossScale, Out vk.Range }

// Metrics overwrites out = {mean loss, sum of top-1, sum of top-5, gradient norm, 1 if loss or gradients are not finite,
// the loss scale's Factor in this step, its Skipped after it, 0}.
type Metrics struct{ cfg MetricsConfig }

// NewMetrics returns a *ShapeError if the configuration cannot be.
func NewMetrics(_ *vk.Device, cfg MetricsConfig) (*Metrics, error) {
	if cfg.N < 1 {
		return nil, &ShapeError{Op: "metrics", Got: fmt.Sprintf("%d images", cfg.N), Want: "at least 1"}
	}
	return &Metrics{cfg}, nil
}

// Record appends the call.
func (o *Metrics) Record(rec *vk.Recorder, a MetricsArgs) {
	label := fmt.Sprintf("metrics n%d", o.cfg.N)
	if !checkArguments(rec, label, argument{"loss", &a.Loss, 16 * int64(o.cfg.N)}, argument{"norm", &a.Norm, 16},
		argument{"loss scale", &a.LossScale, LossScaleBytes}, argument{"out", &a.Out, 32}) {
		return
	}
	push := shaders.MetricsParams{N: uint32(o.cfg.N)}
	rec.Dispatch(vk.Call{Shader: &shaders.Metrics, Push: push.Bytes(), Label: label,
		Bind:   shaders.MetricsBindings{Loss: a.Loss, Norm: a.Norm, LossScale: a.LossScale, Metrics: a.Out}.Ranges(),
		Groups: [3]uint32{1, 1, 1}})
}
