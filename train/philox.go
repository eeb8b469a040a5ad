package train

import "math/bits"

type philox struct{ seed uint64 }

func (p philox) Draw(step, stream uint32, index uint64) [4]uint32 {
	c := [4]uint32{step, stream, uint32(index), uint32(index >> 32)}
	k0, k1 := uint32(p.seed), uint32(p.seed>>32)
	for range 10 {
		h0, l0 := bits.Mul32(0xD2511F53, c[0])
		h1, l1 := bits.Mul32(0xCD9E8D57, c[2])
		c = [4]uint32{h1 ^ c[1] ^ k0, l1, h0 ^ c[3] ^ k1, l0}
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return c
}
