package kernels

import (
	"encoding/binary"
	"math"
)

// StepScalars is the content of the step buffer, the same words in the same order as shaders/include/step.glsl.
type StepScalars struct {
	Step, SeedLo, SeedHi, Flags uint32
	LR, Momentum                float32
	Rho, Eps                    float32 // RMSProp: decay of the mean square; epsilon inside the root
	WeightDecay, EMADecay       float32
	ClipNorm                    float32 // 0: no clipping
	Dropout, DropPath           float32 // DropPath: block i of n drops with DropPath*i/n
	Smoothing                   float32
}

// StepBytes is the size of the step buffer.
const StepBytes = 256

// Encode writes s into the first words of b, little-endian.
func (s *StepScalars) Encode(b []byte) {
	for i, v := range []uint32{s.Step, s.SeedLo, s.SeedHi, s.Flags} {
		binary.LittleEndian.PutUint32(b[4*i:], v)
	}
	for i, v := range []float32{s.LR, s.Momentum, s.Rho, s.Eps, s.WeightDecay, s.EMADecay, s.ClipNorm, s.Dropout, s.DropPath, s.Smoothing} {
		binary.LittleEndian.PutUint32(b[16+4*i:], math.Float32bits(v))
	}
}
