package train

import (
	"fmt"
	"math"

	"github.com/seed-8d806880/vkeffnet/kernels"
)

// skippedWarning is how many steps skipped in a row are told: a scale that begins too high has come down by 2^8 after so many.
const skippedWarning = 8

// NotFiniteError reports a loss or gradient that is no number, in a step where no smaller loss scale can help. The
// checkpoints are from before.
type NotFiniteError struct {
	Step      int
	Precision string // of the run
}

func (e *NotFiniteError) Error() string {
	if e.Precision == kernels.F16.String() {
		return fmt.Sprintf("train: step %d: loss or gradients are not finite in f16, with a loss scale of %d and all larger ones", e.Step, kernels.SmallestLossScale)
	}
	return fmt.Sprintf("train: step %d: loss or gradients are not finite", e.Step)
}

// Hint says what can be tried.
func (e *NotFiniteError) Hint() string {
	const hint = "resume from the last checkpoint with a lower --learning-rate, or with --clip-norm 1"
	if e.Precision == kernels.F16.String() {
		return hint + "; activations above 65504 need --precision bf16 or f32, which can begin with --weights RUN/best.safetensors"
	}
	return hint
}

// firstLossScale is where the run's loss scale starts.
func (c *Config) firstLossScale(e kernels.Elem) kernels.LossScale {
	s := kernels.NewLossScale(e)
	if c.LossScale != 0 {
		s.Factor = float32(c.LossScale)
	}
	return s
}

// lossScale reads the loss scale back; nothing may be running.
func (t *trainer) lossScale() (kernels.LossScale, error) {
	var b [kernels.LossScaleBytes]byte
	err := t.dev.Download(t.state.lossScale.Range(), b[:])
	return kernels.DecodeLossScale(b[:]), err
}

// setLossScale overwrites it.
func (t *trainer) setLossScale(s kernels.LossScale) error {
	return t.dev.Upload(t.state.lossScale.Range(), s.Encode())
}

// skipped takes down a step that was left out because its loss or gradients are not finite. Where the loss scale follows
// the gradients that is how it finds its size; at its end, and where it is constant, the run cannot go on.
func (t *trainer) skipped(step int, scale float64) error {
	if scale <= kernels.SmallestLossScale {
		return &NotFiniteError{step, t.cfg.Precision}
	}
	if t.skippedRow++; t.skippedRow == skippedWarning {
		t.o.Log.Warn("many steps in a row were skipped, as their gradients overflowed", "step", step, "skipped", t.skippedRow, "loss_scale", scale)
		t.tell("step %d: %d steps in a row were skipped, as their gradients overflowed f16 with loss scales down to %g", step, t.skippedRow, scale)
	}
	return nil
}

// isLossScale reports whether a loss scale may begin with f: a power of two that is no smaller and no larger than it can get.
func isLossScale(f float64) bool {
	mantissa, _ := math.Frexp(f)
	return mantissa == 0.5 && f >= kernels.SmallestLossScale && f <= kernels.LargestLossScale
}
