package golden

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
)

// Limits of the differences. Logits are relative to the largest logit, the loss to itself, tensors to their largest value.
//
// A gradient that is exactly zero (the shift of a projection's batch norm when only 1x1 convolutions with batch norm follow,
// whose means take it away again) has no size of its own; what rounding leaves of it is held against a thousandth of the
// median tensor's largest value. PyTorch's float32 reaches a hundredth of that limit.
//
// After three steps rounding errors have been amplified by the training itself (PyTorch's float32 differs from its float64 by
// up to 2e-3 on S), so changes of weights have wider limits, and each step may round every weight once.
const (
	LimitLogits       = 1e-4
	LimitLoss         = 1e-5
	LimitGrad         = 2e-3
	LimitGradMedian   = 2e-4
	LimitStats        = 1e-4
	LimitStepLoss     = 1e-4
	LimitChange       = 1e-2
	LimitChangeMedian = 1e-3
	LimitStepStats    = 1e-3
)

// Check is one comparison: Err and Torch (PyTorch's float32) in units of the reference's scale.
type Check struct {
	What  string // "logits", "gradients, worst: features.0.0.weight"
	Err   float64
	Limit float64
	Torch float64
}

// OK says whether the error is a number within the limit.
func (c Check) OK() bool { return c.Err <= c.Limit }

func (c Check) String() string {
	verdict := "ok"
	if !c.OK() {
		verdict = "WRONG"
	}
	return fmt.Sprintf("%-5s %s: error %.1e, want at most %.1e; PyTorch in float32: %.1e", verdict, c.What, c.Err, c.Limit, c.Torch)
}

// Report is the comparison of one run.
type Report []Check

// OK says whether every check holds.
func (r Report) OK() bool { return !slices.ContainsFunc(r, func(c Check) bool { return !c.OK() }) }

func (r Report) String() string {
	lines := make([]string, len(r))
	for i, c := range r {
		lines[i] = c.String()
	}
	return strings.Join(lines, "\n")
}

// Infer compares logits [N Classes] of a pass with running statistics.
func (c *Case) Infer(logits []float32) Report {
	return Report{c.whole("infer.logits", logits, LimitLogits)}
}

// Train compares a pass with batch statistics: logits, loss, gradients and running statistics by timm's names in PyTorch's
// shapes. Each may lack nothing.
func (c *Case) Train(out *effnetv2.StepOutput) Report {
	r := Report{c.whole("train.logits", out.Logits, LimitLogits), c.whole("train.loss", []float32{out.Loss}, LimitLoss)}
	r = append(r, c.tensors("grad", c.train, out.Grads, nil, LimitGrad, LimitGradMedian)...)
	return append(r, c.tensors("stats", c.stats, out.Buffers, nil, LimitStats, LimitStats)...)
}

// Trained compares three RMSProp steps: the losses before each, and the weights and running statistics after the last, all in
// one map by timm's names in PyTorch's shapes.
func (c *Case) Trained(losses []float32, state map[string][]float32) Report {
	r := Report{c.whole("steps.losses", losses, LimitStepLoss)}
	r = append(r, c.tensors("steps.delta", c.train, state, c.Weights(), LimitChange, LimitChangeMedian)...)
	return append(r, c.tensors("steps.stats", c.stats, state, nil, LimitStepStats, LimitStepStats)...)
}

// whole compares a quantity that is stored entire, relative to its largest value.
func (c *Case) whole(key string, got []float32, limit float64) Check {
	want := c.ref[key].F32
	scale, worst := 0.0, 0.0
	for _, w := range want {
		scale = max(scale, math.Abs(float64(w)))
	}
	if len(got) != len(want) {
		worst = math.Inf(1)
	} else {
		for i, w := range want {
			worst = larger(worst, math.Abs(float64(got[i])-float64(w)))
		}
	}
	return Check{key, worst / scale, limit, float64(c.ref[key+".err32"].F32[0]) / scale}
}

// larger is max, but NaN counts as infinite.
func larger(a, b float64) float64 {
	if math.IsNaN(b) {
		return math.Inf(1)
	}
	return max(a, b)
}

// tensors compares a set of tensors with their digests; with initial, got - initial is what is compared, and three roundings of the
// largest weight are forgiven. It yields the worst tensor, the median tensor and, if there are any, the worst of the
// tensors that are exactly zero.
func (c *Case) tensors(key string, params []effnetv2.Param, got, initial map[string][]float32, limit, limitMedian float64) Report {
	size, torch := c.ref[key+".max"].F32, c.ref[key+".err32"].F32
	sorted := slices.Sorted(slices.Values(size))
	median := float64(sorted[len(sorted)/2])
	worst := Check{What: key + ", worst tensor", Limit: limit}
	zero := Check{What: key + ", worst of those exactly zero", Limit: 1e-3}
	var errs, torches []float64
	values := c.ref[key+".values"].F32
	for i, p := range params {
		n := p.Len()
		if !c.full {
			n = min(n, samples)
		}
		d := digest{values[:n], c.ref[key+".projections"].F32[i*projections:][:projections]}
		values = values[n:]
		err := math.Inf(1)
		if x := got[p.Timm]; len(x) == p.Len() {
			err = c.distance(p, d, x, initial[p.Timm])
		}
		if float64(size[i]) < 1e-9*median {
			zero.note(p, err/median, float64(torch[i])/median)
			continue
		}
		scale := max(float64(size[i]), 1e-3*median)
		errs = append(errs, err/scale)
		torches = append(torches, float64(torch[i])/scale)
		worst.note(p, err/scale, float64(torch[i])/scale)
	}
	slices.Sort(errs)
	slices.Sort(torches)
	r := Report{worst, {key + ", median tensor", errs[len(errs)/2], limitMedian, torches[len(torches)/2]}}
	if len(errs) < len(params) {
		r = append(r, zero)
	}
	return r
}

// note keeps the largest error, with the tensor's name, and PyTorch's largest, wherever that was.
func (c *Check) note(p effnetv2.Param, err, torch float64) {
	if larger(c.Err, err) > c.Err {
		c.Err = larger(c.Err, err)
		kind, _, _ := strings.Cut(c.What, ":")
		c.What = kind + ": " + p.Timm
	}
	c.Torch = max(c.Torch, torch)
}

type digest struct{ values, projections []float32 }

// distance is the largest absolute difference from a digest: of the stored elements, and of the signed sums divided by sqrt(n),
// by which independent errors of that size would have made them differ.
func (c *Case) distance(p effnetv2.Param, want digest, got, initial []float32) float64 {
	n := len(got)
	at := func(i int) float64 { return float64(got[i]) }
	forgiven := 0.0
	if initial != nil {
		at = func(i int) float64 { return float64(got[i]) - float64(initial[i]) }
		for _, w := range initial {
			forgiven = max(forgiven, Steps*0x1p-23*math.Abs(float64(w)))
		}
	}
	worst := 0.0
	state := fnv1a(c.seed, "sample/"+p.Torchvision)
	for j, w := range want.values {
		i := j
		if len(want.values) < n {
			i = int(splitmix64(state, j) % uint64(n))
		}
		worst = larger(worst, math.Abs(at(i)-float64(w)))
	}
	sums := project(c.seed, p.Torchvision, n, at)
	for k, w := range want.projections {
		worst = larger(worst, math.Abs(sums[k]-float64(w))/math.Sqrt(float64(n)))
	}
	return max(0, worst-forgiven)
}

// project sums the n elements with four sets of pseudo-random signs.
func project(seed uint64, name string, n int, at func(int) float64) [projections]float64 {
	var sums [projections]float64
	state := fnv1a(seed, "project/"+name)
	for i := range n {
		x, signs := at(i), splitmix64(state, i)
		for k := range sums {
			if signs>>k&1 != 0 {
				sums[k] -= x
			} else {
				sums[k] += x
			}
		}
	}
	return sums
}
