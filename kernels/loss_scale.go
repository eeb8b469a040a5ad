package kernels

import (
	"encoding/binary"
	"math"
)

// LossScale is the content of the loss scale's buffer, the same words in the same order as shaders/include/loss_scale.glsl.
// Loss multiplies gradients by Factor, which keeps small ones within the range of F16; GradNorm divides by it again, and
// halves or doubles it on the device, so that no step waits for the host. Source: Micikevicius et al. 2018, Mixed Precision
// Training, arXiv:1710.03740, sections 3.2 and 4; the numbers are torch.cuda.amp.GradScaler's.
type LossScale struct {
	Factor   float32
	Good     uint32 // steps with finite gradients since Factor last changed
	Skipped  uint32 // steps without, in all
	Interval uint32 // good steps after which Factor doubles; 0: it never changes
}

// The range of a Factor that changes (shaders/grad_norm_total.comp): a power of two, so that scaling rounds nothing.
const (
	SmallestLossScale = 1
	LargestLossScale  = 1 << 24
)

// LossScaleBytes is the size of the loss scale's buffer.
const LossScaleBytes = 16

// NewLossScale is where training with activations of type e starts: at 2^16 with F16, doubling after 2000 steps, and a
// constant 1 otherwise.
func NewLossScale(e Elem) LossScale {
	if e == F16 {
		return LossScale{Factor: 1 << 16, Interval: 2000}
	}
	return LossScale{Factor: 1}
}

// Encode returns the buffer's bytes, little-endian.
func (s LossScale) Encode() []byte {
	b := make([]byte, 0, LossScaleBytes)
	for _, v := range []uint32{math.Float32bits(s.Factor), s.Good, s.Skipped, s.Interval} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// DecodeLossScale is the inverse of Encode.
func DecodeLossScale(b []byte) LossScale {
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }
	return LossScale{math.Float32frombits(word(0)), word(1), word(2), word(3)}
}
