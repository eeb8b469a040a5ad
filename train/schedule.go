package train

import (
	"fmt"
	"math"
)

// Stage is one stage of progressive learning: what holds from the previous stage's end to End.
type Stage struct {
	End       float64 `toml:"end"`       // share of all steps at which the stage ends; the last one's is 1
	Size      int     `toml:"size"`      // height and width of the training images
	Magnitude float64 `toml:"magnitude"` // of RandAugment, on the paper's scale of 0 to 30; colours change least at 5, and at 0 most
	Mixup     float64 `toml:"mixup"`     // alpha of Beta(alpha, alpha); 0: no mixup
	Dropout   float64 `toml:"dropout"`   // before the classifier
}

// Linear returns m stages of equal length. With first at the first stage and last at the last one, stage i has
// first + (last-first)*i/(m-1) of everything (arXiv:2104.00298, algorithm 1); sizes are rounded down.
func Linear(m int, first, last Stage) []Stage {
	stages := make([]Stage, m)
	for i := range stages {
		at := 1.0
		if m > 1 {
			at = float64(i) / float64(m-1)
		}
		ramp := func(a, b float64) float64 { return a + (b-a)*at }
		stages[i] = Stage{
			End:       float64(i+1) / float64(m),
			Size:      int(ramp(float64(first.Size), float64(last.Size)) + 1e-9),
			Magnitude: ramp(first.Magnitude, last.Magnitude),
			Mixup:     ramp(first.Mixup, last.Mixup),
			Dropout:   ramp(first.Dropout, last.Dropout),
		}
	}
	return stages
}

// Decay names a learning-rate schedule.
type Decay string

// The schedules. t is the step, W the warm-up and T the whole run in steps; all count from step 0.
const (
	DecayExponential Decay = "exponential" // peak * Rate^floor(t/Every)
	DecayCosine      Decay = "cosine"      // peak * (1 + cos(pi*(t-W)/(T-W)))/2
	DecayConstant    Decay = "constant"    // peak
)

// LearningRate is a peak that is reached linearly from 0 over the warm-up and then follows Decay.
type LearningRate struct {
	Peak   float64
	Warmup float64 // steps; may be a fraction of one
	Decay  Decay
	Rate   float64 // exponential: factor
	Every  float64 // exponential: steps between factors
}

// At returns the learning rate of step t of total. During the warm-up it is peak*(t+1)/Warmup, so that no step has
// a learning rate of 0; then it follows the schedule as if the schedule had run since step 0, as in the published
// recipe, where the rate drops when the warm-up ends.
func (l LearningRate) At(t, total int) float64 {
	if float64(t) < l.Warmup {
		return l.Peak * min(float64(t+1)/l.Warmup, 1)
	}
	switch l.Decay {
	case DecayExponential:
		return l.Peak * math.Pow(l.Rate, math.Floor(float64(t)/l.Every))
	case DecayCosine:
		return l.Peak * (1 + math.Cos(math.Pi*(float64(t)-l.Warmup)/(float64(total)-l.Warmup))) / 2
	default:
		return l.Peak
	}
}

// Plan is the schedule of a run: everything that depends on the step alone. It is a value without state.
type Plan struct {
	Steps         int // of the whole run
	StepsPerEpoch int
	Stages        []Stage
	LR            LearningRate
	EMADecay      float64
	DropPath      float64
}

// StepSettings is what holds at one step.
type StepSettings struct {
	Step, Stage, Size int
	Epoch             float64 // epochs begun and the share of this one, at the step's start
	LR                float64
	EMADecay          float64 // min(Plan.EMADecay, (1+t)/(10+t))
	Magnitude         float64
	Mixup             float64
	Dropout, DropPath float64
}

// Check returns an error when the plan cannot be followed.
func (p *Plan) Check() error {
	if p.Steps < 1 || p.StepsPerEpoch < 1 {
		return fmt.Errorf("train: plan of %d steps, %d an epoch, want at least 1", p.Steps, p.StepsPerEpoch)
	}
	if len(p.Stages) == 0 {
		return fmt.Errorf("train: plan without stages, want at least one")
	}
	before := 0.0
	for i, s := range p.Stages {
		switch {
		case !(s.End > before && s.End <= 1):
			return fmt.Errorf("train: stage %d ends at %g of the run, want more than %g and at most 1", i+1, s.End, before)
		case s.Size < 1:
			return fmt.Errorf("train: stage %d has images of size %d, want at least 1", i+1, s.Size)
		case !(s.Magnitude >= 0 && s.Magnitude <= 30):
			return fmt.Errorf("train: stage %d has RandAugment magnitude %g, want 0 to 30", i+1, s.Magnitude)
		case !(s.Mixup >= 0) || math.IsInf(s.Mixup, 0):
			return fmt.Errorf("train: stage %d has mixup alpha %g, want at least 0", i+1, s.Mixup)
		case !(s.Dropout >= 0 && s.Dropout < 1):
			return fmt.Errorf("train: stage %d has dropout %g, want at least 0 and below 1", i+1, s.Dropout)
		}
		before = s.End
	}
	if before != 1 {
		return fmt.Errorf("train: the last stage ends at %g of the run, want 1", before)
	}
	return nil
}

// Bounds returns the first step of stage i and the step after its last one. A short run may leave a stage empty.
func (p *Plan) Bounds(i int) (begin, end int) {
	at := func(share float64) int { return int(share*float64(p.Steps) + 1e-9) }
	if i > 0 {
		begin = at(p.Stages[i-1].End)
	}
	return begin, at(p.Stages[i].End)
}

// StageAt returns the stage of a step; steps past the end belong to the last one.
func (p *Plan) StageAt(step int) int {
	for i := range p.Stages {
		if _, end := p.Bounds(i); step < end {
			return i
		}
	}
	return len(p.Stages) - 1
}

// At returns the settings of a step, which counts from 0.
func (p *Plan) At(step int) StepSettings {
	i := p.StageAt(step)
	s := p.Stages[i]
	t := float64(step)
	return StepSettings{
		Step: step, Stage: i, Size: s.Size,
		Epoch:     t / float64(p.StepsPerEpoch),
		LR:        p.LR.At(step, p.Steps),
		EMADecay:  min(p.EMADecay, (1+t)/(10+t)),
		Magnitude: s.Magnitude, Mixup: s.Mixup, Dropout: s.Dropout, DropPath: p.DropPath,
	}
}

// MaxSize is the largest image size of any stage.
func (p *Plan) MaxSize() int {
	m := 0
	for _, s := range p.Stages {
		m = max(m, s.Size)
	}
	return m
}
