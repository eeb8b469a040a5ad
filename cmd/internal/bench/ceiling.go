package bench

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"time"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// Ceiling is the best that a device was seen to do on work that is nothing but arithmetic or nothing but traffic.
type Ceiling struct {
	GFLOPS        float64 `json:"gflops"`                   // 10^9 float32 operations a second; a multiply-add counts two
	GBps          float64 `json:"gbps"`                     // 10^9 bytes a second, read and written
	CoopMatGFLOPS float64 `json:"coopmat_gflops,omitempty"` // 10^9 operations a second in cooperative matrices; 0: not measured
}

// Bound names the ceiling that work of some kind meets first.
type Bound string

// The ceilings of a device.
const (
	Bandwidth  Bound = "bandwidth"
	Arithmetic Bound = "arithmetic"
	Matrix     Bound = "matrix" // arithmetic in cooperative matrices
)

// floor is the least time, in nanoseconds, in which a device at its ceilings does a dispatch: the longer of its arithmetic
// and its traffic. Bound is the ceiling that sets it. Work that stays in a cache can be done in less.
func (c Ceiling) floor(call vk.CallInfo) (ns float64, bound Bound) {
	rate := c.GFLOPS
	bound = Arithmetic
	if c.CoopMatGFLOPS > 0 && matrixShaders()[call.Shader] {
		rate, bound = c.CoopMatGFLOPS, Matrix
	}
	if rate > 0 {
		ns = float64(call.FLOPs) / rate
	}
	if c.GBps > 0 {
		if moving := float64(call.Read+call.Written) / c.GBps; moving >= ns {
			return moving, Bandwidth
		}
	}
	return ns, bound
}

// matrixShaders names the shaders that compute in cooperative matrices.
var matrixShaders = sync.OnceValue(func() map[string]bool {
	names := map[string]bool{}
	for _, s := range shaders.All {
		for _, need := range s.Needs {
			if need == "cooperativeMatrix" || strings.HasSuffix(need, "_cooperative_matrix") || strings.HasSuffix(need, "_cooperative_matrix2") {
				names[s.Name] = true
			}
		}
	}
	return names
})

// floors adds up the floors of dispatches by what binds them.
type floors map[Bound]float64

func (f floors) add(ns float64, bound Bound) { f[bound] += ns }

// total is the floor of all dispatches one after another, and the ceiling that most of it is due to.
func (f floors) total() (ns float64, bound Bound) {
	for _, b := range []Bound{Bandwidth, Arithmetic, Matrix} {
		ns += f[b]
		if bound == "" || f[b] > f[bound] {
			bound = b
		}
	}
	return ns, bound
}

const (
	ceilingRuns  = 5                     // the best counts
	ceilingTime  = 20 * time.Millisecond // long enough for the clock of any driver
	copyBytes    = 256 << 20             // beyond any cache of a GPU (50 MiB on an H100)
	copyBytesCPU = 32 << 20
)

// MeasureCeiling measures the ceilings by device timestamps. It takes well under a second on a GPU.
func MeasureCeiling(ctx context.Context, dev *vk.Device) (Ceiling, error) {
	gbps, err := bandwidth(ctx, dev)
	if err != nil {
		return Ceiling{}, err
	}
	gflops, err := arithmetic(ctx, dev)
	if err != nil {
		return Ceiling{}, err
	}
	matrices, err := coopMats(ctx, dev)
	return Ceiling{GFLOPS: gflops, GBps: gbps, CoopMatGFLOPS: matrices}, err
}

// bandwidth is the better of a buffer copy and a copying shader, in 10^9 bytes read and written a second.
func bandwidth(ctx context.Context, dev *vk.Device) (float64, error) {
	lim := dev.Limits()
	size := int64(copyBytes)
	if dev.IsCPU() {
		size = copyBytesCPU
	}
	size = min(size, lim.MaxRange, lim.MaxAllocation, lim.Heap/8) &^ 255
	var buffers [2]*vk.Buffer
	for i, name := range []string{"copy source", "copy destination"} {
		b, err := dev.NewBuffer(name, size, vk.DeviceMemory)
		if err != nil {
			return 0, err
		}
		defer b.Release()
		buffers[i] = b
	}
	src, dst := buffers[0].Range(), buffers[1].Range()
	rec := dev.NewRecorder("copy ceiling")
	rec.Fill(src, 0)
	rec.Copy(dst, src)
	spec := shaders.DefaultCeilingCopySpec()
	groups := min(4096, lim.MaxGroups)
	params := shaders.CeilingCopyParams{N: uint32(size / 16), Stride: groups * spec.LocalX}
	rec.Dispatch(vk.Call{Shader: &shaders.CeilingCopy, Spec: spec.Words(), Push: params.Bytes(),
		Bind: shaders.CeilingCopyBindings{X: src, Y: dst}.Ranges(), Groups: [3]uint32{groups, 1, 1}, Label: "copy ceiling"})
	times, err := bestTimes(ctx, rec)
	if err != nil {
		return 0, err
	}
	return float64(2*size) / float64(min(times[1], times[2]).Nanoseconds()), nil
}

// arithmetic is the rate of multiply-adds in registers, in 10^9 operations a second.
func arithmetic(ctx context.Context, dev *vk.Device) (float64, error) {
	const flopsPerIteration = 16 * 4 * 4 * 2 // UNROLL x CHAINS x vec4 x (multiply, add) of ceiling_fma.comp
	spec := shaders.DefaultCeilingFmaSpec()
	groups := uint32(4096)
	if dev.IsCPU() {
		groups = 256
	}
	invocations := groups * spec.LocalX
	out, err := dev.NewBuffer("arithmetic ceiling", 4*int64(invocations), vk.DeviceMemory)
	if err != nil {
		return 0, err
	}
	defer out.Release()
	return rate(ctx, dev, int64(invocations)*flopsPerIteration, func(iterations uint32) vk.Call {
		params := shaders.CeilingFmaParams{Iterations: iterations, A: 0.5, B: 1}
		return vk.Call{Shader: &shaders.CeilingFma, Spec: spec.Words(), Push: params.Bytes(),
			Bind: shaders.CeilingFmaBindings{Y: out.Range()}.Ranges(), Groups: [3]uint32{groups, 1, 1}, Label: "arithmetic ceiling"}
	})
}

// coopMats is the rate of products of float16 matrices with float32 sums, of the fastest shape that the device lists, in 10^9
// operations a second; 0 if there is none.
func coopMats(ctx context.Context, dev *vk.Device) (float64, error) {
	for _, need := range shaders.CeilingCoopmat.Needs {
		if !dev.Has(need) {
			return 0, nil
		}
	}
	best, lim := 0.0, dev.Limits()
	for _, m := range dev.Info().CoopMat {
		if m.A != "f16" || m.B != "f16" || m.C != "f32" || m.D != "f32" || m.Scope != "subgroup" {
			continue
		}
		// Shapes of 8 x 16 are Intel's for subgroups of 16, whatever smaller ones there are.
		subgroup := lim.SubgroupMin
		if m.M == 8 && m.N == 16 {
			subgroup = min(max(16, lim.SubgroupMin), lim.SubgroupMax)
		}
		r, err := coopMat(ctx, dev, m, subgroup)
		if err != nil {
			return 0, err
		}
		best = max(best, r)
	}
	return best, nil
}

// coopMat is the rate of one shape.
func coopMat(ctx context.Context, dev *vk.Device, m vk.CoopMat, subgroup uint32) (float64, error) {
	const productsPerIteration = 4 * 4 // UNROLL x chains of ceiling_coopmat.comp
	local, groups := min(128, dev.Limits().Invocations)/subgroup*subgroup, uint32(4096)
	if dev.IsCPU() {
		groups = 256
	}
	spec := shaders.CeilingCoopmatSpec{LocalX: local, MatM: m.M, MatN: m.N, MatK: m.K}
	subgroups := int64(groups) * int64(local/subgroup)
	in, err := dev.NewBuffer("matrices", 4*int64(m.K)*int64(m.M+m.N), vk.DeviceMemory)
	if err != nil {
		return 0, err
	}
	defer in.Release()
	halves := bytes.Repeat([]byte{0, 0x38, 0, 0x34}, int(in.Size()/4)) // 0.5 and 0.25
	if err := dev.Upload(in.Range(), halves); err != nil {
		return 0, err
	}
	out, err := dev.NewBuffer("sums of products", 4*subgroups*int64(m.M)*int64(m.N), vk.DeviceMemory)
	if err != nil {
		return 0, err
	}
	defer out.Release()
	flops := subgroups * productsPerIteration * 2 * int64(m.M) * int64(m.N) * int64(m.K)
	return rate(ctx, dev, flops, func(iterations uint32) vk.Call {
		params := shaders.CeilingCoopmatParams{Iterations: iterations}
		return vk.Call{Shader: &shaders.CeilingCoopmat, Spec: spec.Words(), Push: params.Bytes(), SubgroupSize: subgroup,
			Bind: shaders.CeilingCoopmatBindings{X: in.Range(), Y: out.Range()}.Ranges(), Groups: [3]uint32{groups, 1, 1}, Label: "matrix ceiling"}
	})
}

// rate runs a call of ever more iterations until it takes ceilingTime, and returns 10^9 operations a second.
func rate(ctx context.Context, dev *vk.Device, flopsPerIteration int64, call func(iterations uint32) vk.Call) (float64, error) {
	for iterations := uint32(1); ; iterations *= 4 {
		rec := dev.NewRecorder("arithmetic ceiling")
		rec.Dispatch(call(iterations))
		times, err := bestTimes(ctx, rec)
		if err != nil {
			return 0, err
		}
		if times[0] >= ceilingTime || iterations >= 1<<24 {
			return float64(flopsPerIteration) * float64(iterations) / float64(times[0].Nanoseconds()), nil
		}
	}
}

// bestTimes is the shortest device time of every call over a few runs.
func bestTimes(ctx context.Context, rec *vk.Recorder) ([]time.Duration, error) {
	p, err := rec.Build(ctx, &vk.BuildOptions{Timestamps: true, Budget: time.Second}) // the first touch of memory is slow
	if err != nil {
		return nil, err
	}
	defer p.Release()
	var best []time.Duration
	for range ceilingRuns {
		if err := p.Run(ctx); err != nil {
			return nil, err
		}
		times, err := p.Times()
		if err != nil {
			return nil, err
		}
		if best == nil {
			best = times
		}
		for i, t := range times {
			best[i] = min(best[i], t)
		}
	}
	return best, nil
}
