package kernels_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/seed-8d806880/vkeffnet/kernels"
)

// TestPhilox holds the generator against the known answers of Random123 1.14 (tests/kat_vectors, philox4x32 10).
func TestPhilox(t *testing.T) {
	for _, v := range []struct {
		ctr  [4]uint32
		key  uint64 // second word of the key in the upper half
		want [4]uint32
	}{
		{[4]uint32{}, 0, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, 0xffffffff_ffffffff,
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0_a4093822,
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		got := kernels.Philox{Seed: v.key}.Draw(v.ctr[0], v.ctr[1], uint64(v.ctr[3])<<32|uint64(v.ctr[2]))
		assert.Equal(t, fmt.Sprintf("%08x", v.want), fmt.Sprintf("%08x", got))
	}
}

func TestUniform(t *testing.T) {
	for word, want := range map[uint32]float32{0: 0, 0xff: 0, 0x100: 0x1p-24, 1 << 31: 0.5, 1<<32 - 1: 1 - 0x1p-24} {
		assert.Equal(t, want, kernels.Uniform(word), "%#x", word)
	}
}
