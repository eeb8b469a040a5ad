package kernels

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// newChannelReduction checks a batch norm of C channels over M rows whose sums have parts terms, and returns the workgroup:
// x channel groups by y invocations that share the parts.
func newChannelReduction(dev *vk.Device, op, variant string, c, parts, m int) (x, y int, err error) {
	if c < 8 || c%8 != 0 || parts < 1 || m < 1 {
		return 0, 0, &ShapeError{Op: op, Got: fmt.Sprintf("C=%d, %d parts, M=%d", c, parts, m), Want: "C a multiple of 8, parts and M at least 1"}
	}
	if variant, err = cutVariant(dev, op, variant); err != nil {
		return 0, 0, err
	}
	x, y = reduceLanes(dev, variant, c/4, parts)
	return x, y, nil
}

// BNFinalizeConfig is the shape of a BNFinalize.
type BNFinalizeConfig struct {
	C, Parts, M int     // channels; partial statistics; M = N*H*W rows in all of them
	Eps         float32 // added to the variance
	Momentum    float32 // running = (1 - momentum)*running + momentum*batch, as in PyTorch; TensorFlow's is 1 - momentum
	Variant     string  // "narrow" or "wide"; empty: chosen
}

// BNFinalizeArgs are the buffers of a BNFinalize: Stats [Parts][2][C] (mean, M2) then [Parts] counts; Gamma, Beta,
// RunMean, RunVar [C]; BN [6][C].
type BNFinalizeArgs struct {
	Stats, Gamma, Beta, RunMean, RunVar, BN vk.Range
}

// BNFinalize merges partial statistics and overwrites rows 0 to 3 of BN: mean, scale = gamma*rstd, beta and
// rstd = 1/sqrt(var + eps), with the biased variance M2/M. It updates the running statistics in place, the variance with
// the unbiased M2/(M-1) (M = 1: M2); a channel with a mean or variance that is not finite, after an overflow of 16-bit
// activations, keeps its own, which it would otherwise lose for ever. Partial means and M2 are merged by the formula of Chan, Golub and LeVeque (1979),
// in float32 and in a fixed order; nothing cancels.
type BNFinalize struct {
	cfg  BNFinalizeConfig
	x, y int
}

// NewBNFinalize returns a *ShapeError if the configuration cannot be.
func NewBNFinalize(dev *vk.Device, cfg BNFinalizeConfig) (*BNFinalize, error) {
	x, y, err := newChannelReduction(dev, "bn finalize", cfg.Variant, cfg.C, cfg.Parts, cfg.M)
	if err != nil {
		return nil, err
	}
	return &BNFinalize{cfg: cfg, x: x, y: y}, nil
}

// Record appends the call.
func (o *BNFinalize) Record(rec *vk.Recorder, a BNFinalizeArgs) {
	c, parts := int64(o.cfg.C), int64(o.cfg.Parts)
	label := fmt.Sprintf("bn finalize C=%d parts=%d", c, parts)
	if !checkArguments(rec, label, argument{"stats", &a.Stats, 4 * (2*c*parts + roundUp(parts, 4))},
		argument{"gamma", &a.Gamma, 4 * c}, argument{"beta", &a.Beta, 4 * c}, argument{"running mean", &a.RunMean, 4 * c},
		argument{"running variance", &a.RunVar, 4 * c}, argument{"bn", &a.BN, 24 * c}) {
		return
	}
	push := shaders.BnFinalizeParams{C4: uint32(c / 4), Parts: uint32(parts), M: float32(o.cfg.M), Eps: o.cfg.Eps, Momentum: o.cfg.Momentum}
	rec.Dispatch(vk.Call{
		Shader: &shaders.BnFinalize,
		Spec:   shaders.BnFinalizeSpec{LocalX: uint32(o.x), LocalY: uint32(o.y)}.Words(),
		Push:   push.Bytes(),
		Bind: shaders.BnFinalizeBindings{Stats: a.Stats, Gamma: a.Gamma, Beta: a.Beta, RunMean: a.RunMean, RunVar: a.RunVar,
			Bn: a.BN}.Ranges(),
		Groups: [3]uint32{uint32(ceilDiv(o.cfg.C/4, o.x)), 1, 1},
		Label:  label,
		FLOPs:  8 * c * parts,
	})
}

// BNBackwardConfig is the shape of a BNBackward.
type BNBackwardConfig struct {
	C, Parts, M int    // channels; partial sums; M = N*H*W
	Variant     string // "narrow" or "wide"; empty: chosen
}

// BNBackwardArgs are the buffers of a BNBackward: Sums [Parts][2][C], BN [6][C], DGamma and DBeta [C].
type BNBackwardArgs struct {
	Sums, BN, DGamma, DBeta vk.Range
}

// BNBackward adds the partial sums S = sum dz and T = sum dz*yhat in a fixed order and overwrites DBeta = S, DGamma = T and
// rows 4 and 5 of BN: b = -scale*rstd*T/M, c = -scale*S/M, so that dy = scale*dz + b*(y - mean) + c.
type BNBackward struct {
	cfg  BNBackwardConfig
	x, y int
}

// NewBNBackward returns a *ShapeError if the configuration cannot be.
func NewBNBackward(dev *vk.Device, cfg BNBackwardConfig) (*BNBackward, error) {
	x, y, err := newChannelReduction(dev, "bn backward", cfg.Variant, cfg.C, cfg.Parts, cfg.M)
	if err != nil {
		return nil, err
	}
	return &BNBackward{cfg: cfg, x: x, y: y}, nil
}

// Record appends the call.
func (o *BNBackward) Record(rec *vk.Recorder, a BNBackwardArgs) {
	c, parts := int64(o.cfg.C), int64(o.cfg.Parts)
	label := fmt.Sprintf("bn backward C=%d parts=%d", c, parts)
	if !checkArguments(rec, label, argument{"sums", &a.Sums, 8 * c * parts}, argument{"bn", &a.BN, 24 * c},
		argument{"dgamma", &a.DGamma, 4 * c}, argument{"dbeta", &a.DBeta, 4 * c}) {
		return
	}
	push := shaders.BnBackwardParams{C4: uint32(c / 4), Parts: uint32(parts), M: float32(o.cfg.M)}
	rec.Dispatch(vk.Call{
		Shader: &shaders.BnBackward,
		Spec:   shaders.BnBackwardSpec{LocalX: uint32(o.x), LocalY: uint32(o.y)}.Words(),
		Push:   push.Bytes(),
		Bind:   shaders.BnBackwardBindings{Sums: a.Sums, Bn: a.BN, DGamma: a.DGamma, DBeta: a.DBeta}.Ranges(),
		Groups: [3]uint32{uint32(ceilDiv(o.cfg.C/4, o.x)), 1, 1},
		Label:  label,
		FLOPs:  2 * c * parts,
	})
}

// BNBackwardSEConfig is the shape of a BNBackwardSE.
type BNBackwardSEConfig struct {
	N, C, M int    // images; channels; M = N*H*W
	NoG     bool   // the tensor is only pooled (the head): S and Gate are absent
	Variant string // "narrow" or "wide"; empty: chosen
}

// BNBackwardSEArgs are the buffers of a BNBackwardSE: S [N][3][C] (s0, s1, s3), Gate and E [N][C], Pool [3][N][C] (mean, s2,
// s4), BN [6][C], DGamma and DBeta [C].
type BNBackwardSEArgs struct {
	S, Gate, E, Pool, BN, DGamma, DBeta vk.Range
}

// BNBackwardSE is BNBackward of a tensor whose value is gated by squeeze-and-excite, dz = (q*gate + e)*act'(z):
//
//	S = sum over n of gate*s1 + e*s2    T = sum over n of gate*s3 + e*s4
//
// with NoG without the gate terms. It overwrites DBeta = S, DGamma = T and rows 4 and 5 of BN.
type BNBackwardSE struct {
	cfg  BNBackwardSEConfig
	x, y int
}

// NewBNBackwardSE returns a *ShapeError if the configuration cannot be.
func NewBNBackwardSE(dev *vk.Device, cfg BNBackwardSEConfig) (*BNBackwardSE, error) {
	x, y, err := newChannelReduction(dev, "bn backward se", cfg.Variant, cfg.C, cfg.N, cfg.M)
	if err != nil {
		return nil, err
	}
	return &BNBackwardSE{cfg: cfg, x: x, y: y}, nil
}

// Record appends the call.
func (o *BNBackwardSE) Record(rec *vk.Recorder, a BNBackwardSEArgs) {
	c, n := int64(o.cfg.C), int64(o.cfg.N)
	label := fmt.Sprintf("bn backward se n%d C=%d", n, c)
	if !checkArguments(rec, label, argument{"s", &a.S, when(!o.cfg.NoG, 12*n*c)}, argument{"gate", &a.Gate, when(!o.cfg.NoG, 4*n*c)},
		argument{"e", &a.E, 4 * n * c}, argument{"pool", &a.Pool, 12 * n * c}, argument{"bn", &a.BN, 24 * c},
		argument{"dgamma", &a.DGamma, 4 * c}, argument{"dbeta", &a.DBeta, 4 * c}) {
		return
	}
	push := shaders.BnBackwardSeParams{C4: uint32(c / 4), N: uint32(n), M: float32(o.cfg.M)}
	rec.Dispatch(vk.Call{
		Shader: &shaders.BnBackwardSe,
		Spec:   shaders.BnBackwardSeSpec{LocalX: uint32(o.x), LocalY: uint32(o.y), Nog: o.cfg.NoG}.Words(),
		Push:   push.Bytes(),
		Bind: shaders.BnBackwardSeBindings{S: a.S, Gate: a.Gate, E: a.E, Pool: a.Pool, Bn: a.BN, DGamma: a.DGamma,
			DBeta: a.DBeta}.Ranges(),
		Groups: [3]uint32{uint32(ceilDiv(o.cfg.C/4, o.x)), 1, 1},
		Label:  label,
		FLOPs:  8 * c * n,
	})
}
