package kernels

import "math/bits"

// Philox is the counter-based generator Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as
// easy as 1, 2, 3"), the twin of shaders/include/philox.glsl. It has no state: what it draws depends on its arguments
// alone, so a mask is drawn again in backward and a resumed run draws the same numbers.
type Philox struct{ Seed uint64 }

// Draw returns the four words of counter (step, stream, index). Streams below 2^31 belong to the device's kernels: 1 is
// the head's dropout, 2 stochastic depth.
func (p Philox) Draw(step, stream uint32, index uint64) [4]uint32 {
	c := [4]uint32{step, stream, uint32(index), uint32(index >> 32)}
	k0, k1 := uint32(p.Seed), uint32(p.Seed>>32)
	for range 10 {
		h0, l0 := bits.Mul32(0xD2511F53, c[0])
		h1, l1 := bits.Mul32(0xCD9E8D57, c[2])
		c = [4]uint32{h1 ^ c[1] ^ k0, l1, h0 ^ c[3] ^ k1, l0}
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return c
}

// Uniform maps a word to [0, 1) with 24 bits, exactly as the shaders do.
func Uniform(word uint32) float32 { return float32(word>>8) * 0x1p-24 }
