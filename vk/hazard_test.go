package vk

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

// spans agrees with a set of single bytes.
func TestSpansAreASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 40
		var s spans
		var model [size]bool
		for range rapid.IntRange(0, 20).Draw(t, "ranges") {
			lo := rapid.Int64Range(0, size-1).Draw(t, "lo")
			x := span{lo, rapid.Int64Range(lo+1, size).Draw(t, "hi")}
			want := false
			for i := x.lo; i < x.hi; i++ {
				want = want || model[i]
			}
			assert.Equal(t, want, s.overlaps(x), "%v in %v", x, s)
			if rapid.Bool().Draw(t, "add") {
				s.add(x)
				for i := x.lo; i < x.hi; i++ {
					model[i] = true
				}
			}
			for i := range s {
				assert.Less(t, s[i].lo, s[i].hi)
				assert.True(t, i == 0 || s[i-1].hi < s[i].lo, "%v", s)
			}
		}
	})
}

// A block never gives a byte twice, and is whole again when everything is given back.
func TestBlockGivesDisjointParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := &block{size: 4096, free: []span{{0, 4096}}}
		var out []span
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			if len(out) > 0 && rapid.Bool().Draw(t, "give") {
				i := rapid.IntRange(0, len(out)-1).Draw(t, "which")
				b.give(out[i].lo, out[i].hi-out[i].lo)
				out = append(out[:i], out[i+1:]...)
				continue
			}
			size := granule * rapid.Int64Range(1, 4).Draw(t, "size")
			if off, ok := b.take(size); ok {
				for _, o := range out {
					assert.True(t, off+size <= o.lo || o.hi <= off, "%d+%d and %v", off, size, o)
				}
				assert.Zero(t, off%granule)
				assert.LessOrEqual(t, off+size, b.size)
				out = append(out, span{off, off + size})
			}
		}
		for _, o := range out {
			b.give(o.lo, o.hi-o.lo)
		}
		assert.Equal(t, []span{{0, 4096}}, b.free)
	})
}
