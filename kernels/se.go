package kernels

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// PoolConfig is the shape of a Pool.
type PoolConfig struct {
	N, HW, C int
	Elem     Elem    // of x
	In       Pending // what is pending on x
	Grad     bool    // take the sums that the backward pass needs; In has a batch norm and no gate
	Variant  string  // "narrow" or "wide"; empty: chosen
}

// PoolArgs are the buffers of a Pool: x [N HW C]; Pool [1][N][C], with Grad [3][N][C].
type PoolArgs struct {
	X    Tensor
	Pool vk.Range
}

// Pool computes over the HW pixels of an image: row 0 of Pool, the mean of the value of x; with Grad row 1,
// s2 = sum of act'(z), and row 2, s4 = sum of act'(z)*yhat. It overwrites Pool. Sums are float32 in a fixed order.
type Pool struct {
	cfg    PoolConfig
	x, y   int
	images int
}

// NewPool returns a *ShapeError if the configuration cannot be, and a *vk.UnsupportedError if one image does not fit a
// binding.
func NewPool(dev *vk.Device, cfg PoolConfig) (*Pool, error) {
	const op = "pool"
	if cfg.N < 1 || cfg.HW < 1 || cfg.C < 8 || cfg.C%8 != 0 {
		return nil, &ShapeError{Op: op, Got: fmt.Sprintf("[%d %d %d]", cfg.N, cfg.HW, cfg.C), Want: "at least 1 image and pixel, C a multiple of 8"}
	}
	if cfg.Grad && (!cfg.In.BN || cfg.In.Gate) {
		return nil, &ShapeError{Op: op, Got: "Grad of a tensor without batch norm or with a gate", Want: "a batch norm and no gate"}
	}
	if err := cfg.Elem.Check(dev); err != nil {
		return nil, fmt.Errorf("kernels: %s: %w", op, err)
	}
	o := &Pool{cfg: cfg}
	variant, err := cutVariant(dev, op, cfg.Variant)
	if err != nil {
		return nil, err
	}
	o.x, o.y = reduceLanes(dev, variant, cfg.C/4, cfg.HW)
	o.images, err = imagesPerCall(dev, op, cfg.N, cfg.Elem.Bytes()*int64(cfg.HW)*int64(cfg.C))
	return o, err
}

// PoolBytes is the size of Pool.
func (o *Pool) PoolBytes() int64 {
	rows := 1
	if o.cfg.Grad {
		rows = 3
	}
	return 4 * int64(rows) * int64(o.cfg.N) * int64(o.cfg.C)
}

// Record appends the calls.
func (o *Pool) Record(rec *vk.Recorder, a PoolArgs) {
	n, hw, c := o.cfg.N, o.cfg.HW, o.cfg.C
	label := fmt.Sprintf("pool n%d %dx%d", n, hw, c)
	image := o.cfg.Elem.Bytes() * int64(hw) * int64(c)
	if !checkArguments(rec, label, append(pendingArguments(o.cfg.In, &a.X, n, c), argument{"x", &a.X.Raw, int64(n) * image},
		argument{"pool", &a.Pool, o.PoolBytes()})...) {
		return
	}
	spec := shaders.PoolSpec{LocalX: uint32(o.x), LocalY: uint32(o.y), Grad: o.cfg.Grad,
		InBn: o.cfg.In.BN, InAct: uint32(o.cfg.In.Act), InGate: o.cfg.In.Gate}
	for first := 0; first < n; first += o.images {
		count := min(o.images, n-first)
		push := shaders.PoolParams{C4: uint32(c / 4), Hw: uint32(hw), N: uint32(n), Image0: uint32(first)}
		rec.Dispatch(vk.Call{
			Shader: o.cfg.Elem.pick(&shaders.Pool, &shaders.PoolF16, &shaders.PoolBf16),
			Spec:   spec.Words(),
			Push:   push.Bytes(),
			Bind:   shaders.PoolBindings{X: imageSlice(a.X.Raw, image, first, count), Pool: a.Pool, InBN: a.X.BN, InGate: a.X.Gate}.Ranges(),
			Groups: [3]uint32{uint32(ceilDiv(c/4, o.x)), uint32(count), 1},
			Label:  label,
			FLOPs:  4 * int64(count) * int64(hw) * int64(c),
		})
	}
}

// checkSE reports a squeeze-and-excite that cannot be or that the device cannot run.
func checkSE(dev *vk.Device, op string, n, c, r, local int) error {
	if n < 1 || r < 1 || c < 8 || c%8 != 0 {
		return &ShapeError{Op: op, Got: fmt.Sprintf("N=%d C=%d R=%d", n, c, r), Want: "N and R at least 1, C a multiple of 8"}
	}
	l := dev.Limits()
	if shared := 4 * (local + r); shared > int(l.SharedBytes) {
		return &vk.UnsupportedError{What: fmt.Sprintf("%s R=%d", op, r), Needs: fmt.Sprintf("%d bytes of shared memory", shared)}
	}
	if n > int(l.MaxGroups) {
		return &vk.UnsupportedError{What: fmt.Sprintf("%s N=%d", op, n), Needs: fmt.Sprintf("%d workgroups in one dimension", n)}
	}
	return nil
}

// seLanes is the workgroup of SEFwd and SEBwd, which works on one image, and how many invocations share a hidden unit.
func seLanes(dev *vk.Device, variant string) (local, share int) {
	if variant == narrowVariant {
		return 32, 8
	}
	return min(256, int(dev.Limits().Invocations)), 16
}

// SEFwdConfig is the shape of an SEFwd: R hidden units for C channels.
type SEFwdConfig struct {
	N, C, R int
	Variant string // "narrow" or "wide"; empty: chosen
}

// SEFwdArgs are the buffers of an SEFwd: Pool [N][C] (row 0 of Pool's output), W1 [R][C], B1 [R], W2 [C][R], B2 [C], Hidden
// [N][R], Gate [N][C].
type SEFwdArgs struct {
	Pool, W1, B1, W2, B2, Hidden, Gate vk.Range
}

// SEFwd computes the gate of squeeze-and-excite (Hu et al. 2018, arXiv:1709.01507, with SiLU as in EfficientNet):
//
//	hidden = pool W1' + B1    gate = sigmoid(silu(hidden) W2' + B2)
//
// Hidden is kept raw for the backward pass. It overwrites both.
type SEFwd struct {
	cfg          SEFwdConfig
	local, share int
}

// NewSEFwd returns a *ShapeError if the configuration cannot be, and a *vk.UnsupportedError if R hidden units do not fit
// the device's shared memory.
func NewSEFwd(dev *vk.Device, cfg SEFwdConfig) (*SEFwd, error) {
	const op = "se fwd"
	variant, err := cutVariant(dev, op, cfg.Variant)
	if err != nil {
		return nil, err
	}
	o := &SEFwd{cfg: cfg}
	o.local, o.share = seLanes(dev, variant)
	if err := checkSE(dev, op, cfg.N, cfg.C, cfg.R, o.local); err != nil {
		return nil, err
	}
	return o, nil
}

// Record appends the call.
func (o *SEFwd) Record(rec *vk.Recorder, a SEFwdArgs) {
	n, c, r := int64(o.cfg.N), int64(o.cfg.C), int64(o.cfg.R)
	label := fmt.Sprintf("se fwd n%d %d-%d", n, c, r)
	if !checkArguments(rec, label, argument{"pool", &a.Pool, 4 * n * c}, argument{"w1", &a.W1, 4 * r * c},
		argument{"b1", &a.B1, 4 * r}, argument{"w2", &a.W2, 4 * c * r}, argument{"b2", &a.B2, 4 * c},
		argument{"hidden", &a.Hidden, 4 * n * r}, argument{"gate", &a.Gate, 4 * n * c}) {
		return
	}
	push := shaders.SeFwdParams{C4: uint32(c / 4)}
	rec.Dispatch(vk.Call{
		Shader: &shaders.SeFwd,
		Spec:   shaders.SeFwdSpec{LocalX: uint32(o.local), Lanes: uint32(o.share), R: uint32(r)}.Words(),
		Push:   push.Bytes(),
		Bind: shaders.SeFwdBindings{Pool: a.Pool, W1: a.W1, B1: a.B1, W2: a.W2, B2: a.B2, Hidden: a.Hidden,
			Gate: a.Gate}.Ranges(),
		Groups: [3]uint32{uint32(n), 1, 1},
		Label:  label,
		FLOPs:  4 * n * c * r,
	})
}

// SEBwdConfig is the shape of an SEBwd: HW pixels were pooled, the sums have Parts parts per image.
type SEBwdConfig struct {
	N, C, R, HW, Parts int
	Variant            string // "narrow" or "wide"; empty: chosen
}

// SEBwdArgs are the buffers of an SEBwd: Sums [N][Parts][3][C] (s0, s1, s3 of a Sink with SE), Gate [N][C], Hidden [N][R], Pool
// [N][C] (row 0 of Pool's output), W1 [R][C], W2 [C][R], S [N][3][C], E [N][C], DW1 [R][C], DB1 [R], DW2 [C][R], DB2 [C], Scratch of
// ScratchBytes.
type SEBwdArgs struct {
	Sums, Gate, Hidden, Pool, W1, W2  vk.Range
	S, E, DW1, DB1, DW2, DB2, Scratch vk.Range
}

// SEBwd is the backward pass of squeeze-and-excite. With q the gradient of u*gate and s0 = sum q*u over an image:
//
//	dpre = s0*gate*(1 - gate)          dW2 = dpre' silu(hidden)    dB2 = sum over n of dpre
//	dhidden = (dpre W2)*silu'(hidden)  dW1 = dhidden' pool         dB1 = sum over n of dhidden
//	E = (dhidden W1)/HW, so that the gradient of u is q*gate + E
//
// S is Sums added over Parts, for BNBackwardSE. It overwrites S, E and the four gradients. Sums are in a fixed order.
type SEBwd struct {
	cfg          SEBwdConfig
	align        int64
	images       int // per call
	local, share int
}

// NewSEBwd returns a *ShapeError if the configuration cannot be, and a *vk.UnsupportedError if R hidden units do not fit
// the device's shared memory.
func NewSEBwd(dev *vk.Device, cfg SEBwdConfig) (*SEBwd, error) {
	const op = "se bwd"
	variant, err := cutVariant(dev, op, cfg.Variant)
	if err != nil {
		return nil, err
	}
	o := &SEBwd{cfg: cfg, align: int64(dev.Limits().OffsetAlign)}
	o.local, o.share = seLanes(dev, variant)
	if err := checkSE(dev, op, cfg.N, cfg.C, cfg.R, o.local); err != nil {
		return nil, err
	}
	if cfg.HW < 1 || cfg.Parts < 1 {
		return nil, &ShapeError{Op: op, Got: fmt.Sprintf("HW=%d, %d parts", cfg.HW, cfg.Parts), Want: "at least 1"}
	}
	o.images, err = imagesPerCall(dev, op, cfg.N, 12*int64(cfg.Parts)*int64(cfg.C))
	return o, err
}

// scratch is the sizes of dpre [N][C] and of dhidden and silu(hidden) [N][R], each rounded up so that the next is aligned.
func (o *SEBwd) scratch() (dpre, dhidden int64) {
	n := 4 * int64(o.cfg.N)
	return roundUp(n*int64(o.cfg.C), o.align), roundUp(n*int64(o.cfg.R), o.align)
}

// ScratchBytes is the size of Scratch.
func (o *SEBwd) ScratchBytes() int64 {
	dpre, dhidden := o.scratch()
	return dpre + 2*dhidden
}

// Record appends the calls.
func (o *SEBwd) Record(rec *vk.Recorder, a SEBwdArgs) {
	n, c, r := int64(o.cfg.N), int64(o.cfg.C), int64(o.cfg.R)
	part := 12 * int64(o.cfg.Parts) * c // bytes of an image's sums
	label := fmt.Sprintf("se bwd n%d %d-%d", n, c, r)
	if !checkArguments(rec, label, argument{"sums", &a.Sums, n * part}, argument{"gate", &a.Gate, 4 * n * c},
		argument{"hidden", &a.Hidden, 4 * n * r}, argument{"pool", &a.Pool, 4 * n * c}, argument{"w1", &a.W1, 4 * r * c},
		argument{"w2", &a.W2, 4 * c * r}, argument{"s", &a.S, 12 * n * c}, argument{"e", &a.E, 4 * n * c},
		argument{"dw1", &a.DW1, 4 * r * c}, argument{"db1", &a.DB1, 4 * r}, argument{"dw2", &a.DW2, 4 * c * r},
		argument{"db2", &a.DB2, 4 * c}, argument{"scratch", &a.Scratch, o.ScratchBytes()}) {
		return
	}
	dpreSize, dhiddenSize := o.scratch()
	dpre := a.Scratch.Slice(0, 4*n*c)
	dhidden := a.Scratch.Slice(dpreSize, 4*n*r)
	act := a.Scratch.Slice(dpreSize+dhiddenSize, 4*n*r)

	for first := 0; first < o.cfg.N; first += o.images {
		count := min(o.images, o.cfg.N-first)
		push := shaders.SeBwdParams{C4: uint32(c / 4), Hw: uint32(o.cfg.HW), Parts: uint32(o.cfg.Parts), Image0: uint32(first)}
		rec.Dispatch(vk.Call{
			Shader: &shaders.SeBwd,
			Spec:   shaders.SeBwdSpec{LocalX: uint32(o.local), Rl: uint32(o.local / o.share), R: uint32(r)}.Words(),
			Push:   push.Bytes(),
			Bind: shaders.SeBwdBindings{Sums: imageSlice(a.Sums, part, first, count), Gate: a.Gate, Hidden: a.Hidden, W1: a.W1,
				W2: a.W2, S: a.S, E: a.E, DPre: dpre, DHidden: dhidden, Act: act}.Ranges(),
			Groups: [3]uint32{uint32(count), 1, 1},
			Label:  label,
			FLOPs:  int64(count) * (3*int64(o.cfg.Parts)*c + 4*c*r),
		})
	}

	const local = 64
	push := shaders.SeWgradParams{C4: uint32(c / 4), R: uint32(r), N: uint32(n)}
	rec.Dispatch(vk.Call{
		Shader: &shaders.SeWgrad,
		Spec:   shaders.SeWgradSpec{LocalX: local}.Words(),
		Push:   push.Bytes(),
		Bind: shaders.SeWgradBindings{Pool: a.Pool, DPre: dpre, DHidden: dhidden, Act: act, Dw1: a.DW1, Db1: a.DB1,
			Dw2: a.DW2, Db2: a.DB2}.Ranges(),
		Groups: [3]uint32{uint32(ceilDiv(int(c/4*r), local)), 1, 1},
		Label:  fmt.Sprintf("se wgrad n%d %d-%d", n, c, r),
		FLOPs:  4 * n * c * r,
	})
}
