package ref

import "math"

// Hyper are the numbers of an optimizer's step.
type Hyper struct {
	LR, Momentum, Rho, Eps, Decay, EMADecay, LossScale float64
	Nesterov                                           bool
}

// Slots are what an optimizer changes: weights, the running mean of squared gradients (RMSProp only), momentum, and the
// weights' moving average.
type Slots struct{ W, MS, Mom, EMA []float64 }

// GradNorm returns {norm of g/lossScale, clip factor, not-finite flag, 0}; clip 0 means none.
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
	return []float64{norm, factor, flag, 0}
}

// gradient is the one that the loss has, clipped, with weight decay.
func (h Hyper) gradient(g, clip, w float64) float64 { return g/h.LossScale*clip + h.Decay*w }

// RMSProp changes s by a step in TensorFlow's form (timm's RMSpropTF): the epsilon is inside the root, the momentum
// buffer carries the learning rate.
func RMSProp(s Slots, g []float64, clip float64, h Hyper) {
	for i := range g {
		d := h.gradient(g[i], clip, s.W[i])
		s.MS[i] = h.Rho*s.MS[i] + (1-h.Rho)*d*d
		s.Mom[i] = h.Momentum*s.Mom[i] + h.LR*d/math.Sqrt(s.MS[i]+h.Eps)
		s.W[i] -= s.Mom[i]
	}
	EMA(s.EMA, s.W, h.EMADecay)
}

// SGD changes s by a step in PyTorch's form (torch.optim.SGD): the learning rate is outside the momentum buffer.
func SGD(s Slots, g []float64, clip float64, h Hyper) {
	for i := range g {
		d := h.gradient(g[i], clip, s.W[i])
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
