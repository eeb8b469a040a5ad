package kernels

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// PackConfig describes the weights that a forward pass reads.
type PackConfig struct {
	K, RSC    int     // output channels; R*S*C, or R*S of depthwise weights
	Depthwise bool    // w is [RS][C], C = K: no transposition
	Elem      Elem    // of wt
	Fold      bool    // fold a batch norm with running statistics into the weights
	Eps       float32 // of the batch norm
}

// PackArgs are the buffers of Pack; those from Gamma on are used with Fold.
type PackArgs struct {
	W                      vk.Range // [K][RSC], or [RS][C]
	WT                     vk.Range // [RSC][K], or [RS][C]
	Gamma, Beta, Mean, Var vk.Range // [K]
	Bias                   vk.Range // [K], written
}

// Pack computes wt[rsc][k] = w[k][rsc] of dense weights and wt = w of depthwise ones. With Fold both are multiplied by
// f[k] = gamma[k]/sqrt(var[k]+eps), and bias[k] = beta[k] - mean[k]*f[k], so that a convolution with wt and bias is the
// convolution with w followed by the batch norm. Overwrites wt and bias.
// It is immutable and safe for concurrent use; a Recorder is not.
type Pack struct {
	cfg  PackConfig
	spec shaders.PackSpec
}

const packOp = "pack"

// NewPack returns a *ShapeError if a dimension is below 1, and a *vk.UnsupportedError if the weights exceed
// Limits.MaxRange.
func NewPack(dev *vk.Device, cfg PackConfig) (*Pack, error) {
	if cfg.K < 1 || cfg.RSC < 1 {
		return nil, &ShapeError{Op: packOp, Got: fmt.Sprintf("K=%d, RSC=%d", cfg.K, cfg.RSC), Want: "at least 1"}
	}
	if err := cfg.Elem.Check(dev); err != nil {
		return nil, fmt.Errorf("kernels: %s: %w", packOp, err)
	}
	o := &Pack{cfg, shaders.PackSpec{Local: 64, Each: 4, Tail: true, Depthwise: cfg.Depthwise, Fold: cfg.Fold}}
	if shippedChoices[deviceClass(dev)].lanes == narrowVariant {
		o.spec.Local, o.spec.Each = 8, uint32(largestDivisor(cfg.RSC, 16))
		o.spec.Tail = cfg.K%8 != 0
	}
	if most := dev.Limits().MaxRange; o.bytes() > most {
		return nil, &vk.UnsupportedError{What: packOp, Needs: fmt.Sprintf("bindings of %d bytes, more than the limit of %d bytes", o.bytes(), most)}
	}
	return o, nil
}

func (o *Pack) bytes() int64 { return 4 * int64(o.cfg.K) * int64(o.cfg.RSC) }

// Record appends the packing to rec. It fails rec with a *ShapeError if a range is too small.
func (o *Pack) Record(rec *vk.Recorder, a PackArgs) {
	row := when(o.cfg.Fold, 4*int64(o.cfg.K))
	if !checkArguments(rec, packOp,
		argument{"w", &a.W, o.bytes()}, argument{"wt", &a.WT, o.bytes() / 4 * o.cfg.Elem.Bytes()},
		argument{"gamma", &a.Gamma, row}, argument{"beta", &a.Beta, row},
		argument{"mean", &a.Mean, row}, argument{"var", &a.Var, row}, argument{"bias", &a.Bias, row}) {
		return
	}
	params := shaders.PackParams{K: uint32(o.cfg.K), Rsc: uint32(o.cfg.RSC), Eps: o.cfg.Eps}
	rec.Dispatch(vk.Call{
		Shader: o.cfg.Elem.pick(&shaders.Pack, &shaders.PackF16, &shaders.PackBf16), Spec: o.spec.Words(), Push: params.Bytes(),
		Bind: shaders.PackBindings{
			W: a.W, Wt: a.WT, Gamma: a.Gamma, Beta: a.Beta, Mean: a.Mean, Var: a.Var, Bias: a.Bias,
		}.Ranges(),
		Groups: [3]uint32{uint32(ceilDiv(o.cfg.K, int(o.spec.Local))), uint32(ceilDiv(o.cfg.RSC, int(o.spec.Each))), 1},
		Label:  fmt.Sprintf("pack %dx%d", o.cfg.K, o.cfg.RSC),
	})
}
