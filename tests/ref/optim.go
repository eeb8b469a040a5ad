package ref

import "math"

// Hyper are the numbers of an optimizer's step.
type Hyper struct {
	LR, Momentum, Rho, Eps, Decay, EMADecay float64
	Decayed                                 int // elements, from the first on, that weight decay applies to
	Nesterov                                bool
}

// Slots are what an optimizer changes: weights, the running mean of squared gradients (RMSProp only), momentum, and the
// weights' moving average.
type Slots struct{ W, MS, Mom, EMA []float64 }

// LossScale is a dynamic loss scale between two steps.
type LossScale struct {
	Factor                  float64
	Good, Skipped, Interval int // steps since Factor last changed, steps left out, good steps until Factor doubles (0: never)
}

// Next changes s by a step with or without finite gradients.
func (s *LossScale) Next(finite bool) {
	if !finite {
		s.Good = 0
		s.Skipped++
		if s.Interval > 0 {
			s.Factor = math.Max(s.Factor/2, 1)
		}
		return
	}
	s.Good++
	if s.Interval > 0 && s.Good >= s.Interval {
		s.Good, s.Factor = 0, math.Min(s.Factor*2, 1<<24)
	}
}

// GradNorm returns {norm of g/lossScale, clip factor/lossScale, not-finite flag, lossScale}; clip 0 means none.
func GradNorm(g []float64, lossScale, clip float64) []float64 {
	sum := 0.0
	for _, v := range g {
		sum += v * v
	}
	norm, factor, flag := math.Sqrt(sum)/lossScale, 1.0, 0.0
	if clip > 0 && norm > clip {
		factor = clip / norm
	}
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		flag = 1
	}
	return []float64{norm, factor / lossScale, flag, lossScale}
}

// gradient is element i of g times GradNorm's factor, with weight decay.
func (h Hyper) gradient(g []float64, i int, factor, w float64) float64 {
	if i < h.Decayed {
		return g[i]*factor + h.Decay*w
	}
	return g[i] * factor
}

// RMSProp changes s by a step in TensorFlow's form (timm's RMSpropTF): the epsilon is inside the root, the momentum
// buffer carries the learning rate.
func RMSProp(s Slots, g []float64, factor float64, h Hyper) {
	for i := range g {
		d := h.gradient(g, i, factor, s.W[i])
		s.MS[i] = h.Rho*s.MS[i] + (1-h.Rho)*d*d
		s.Mom[i] = h.Momentum*s.Mom[i] + h.LR*d/math.Sqrt(s.MS[i]+h.Eps)
		s.W[i] -= s.Mom[i]
	}
	EMA(s.EMA, s.W, h.EMADecay)
}

// SGD changes s by a step in PyTorch's form (torch.optim.SGD): the learning rate is outside the momentum buffer.
func SGD(s Slots, g []float64, factor float64, h Hyper) {
	for i := range g {
		d := h.gradient(g, i, factor, s.W[i])
		s.Mom[i] = h.Momentum*s.Mom[i] + d
		if h.Nesterov {
			d += h.Momentum * s.Mom[i]
		} else {
			d = s.Mom[i]
		}
		s.W[i] -= h.LR * d
	}
	EMA(s.EMA, s.W, h.EMADecay)
}

// EMA changes ema to decay*ema + (1-decay)*x.
func EMA(ema, x []float64, decay float64) {
	for i := range x {
		ema[i] = decay*ema[i] + (1-decay)*x[i]
	}
}
