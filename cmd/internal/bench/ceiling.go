package bench

import (
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

// MeasureCeiling measures both ceilings by device timestamps. It takes well under a second on a GPU.
func MeasureCeiling(ctx context.Context, dev *vk.Device) (Ceiling, error) {
	gbps, err := bandwidth(ctx, dev)
	if err != nil {
		return Ceiling{}, err
	}
	gflops, err := arithmetic(ctx, dev)
	return Ceiling{GFLOPS: gflops, GBps: gbps}, err
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
	for iterations := uint32(16); ; iterations *= 4 {
		params := shaders.CeilingFmaParams{Iterations: iterations, A: 0.5, B: 1}
		rec := dev.NewRecorder("arithmetic ceiling")
		rec.Dispatch(vk.Call{Shader: &shaders.CeilingFma, Spec: spec.Words(), Push: params.Bytes(),
			Bind: shaders.CeilingFmaBindings{Y: out.Range()}.Ranges(), Groups: [3]uint32{groups, 1, 1}, Label: "arithmetic ceiling"})
		times, err := bestTimes(ctx, rec)
		if err != nil {
			return 0, err
		}
		if times[0] >= ceilingTime || iterations >= 1<<24 {
			return float64(invocations) * float64(iterations) * flopsPerIteration / float64(times[0].Nanoseconds()), nil
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
