package layers

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Two values that live at the same time never share a byte, none crosses a slab, and sharing never costs memory beyond
// what alignment to slabs wastes.
func TestLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slab := int64(paramAlign) * rapid.Int64Range(16, 64).Draw(t, "slab")
		n := rapid.IntRange(1, 60).Draw(t, "values")
		values := make([]*Value, n)
		for i := range values {
			first := rapid.IntRange(0, 50).Draw(t, "first")
			values[i] = &Value{Name: "v", Bytes: rapid.Int64Range(1, slab).Draw(t, "bytes"), first: first, last: first + rapid.IntRange(0, 30).Draw(t, "life")}
		}
		total, err := layout(values, slab)
		require.NoError(t, err)
		for i, v := range values {
			assert.Zero(t, v.off%paramAlign)
			assert.Equal(t, v.off/slab, (v.off+v.Bytes-1)/slab, "crosses a slab")
			assert.LessOrEqual(t, v.off+v.Bytes, total)
			for _, w := range values[:i] {
				if v.first <= w.last && w.first <= v.last {
					assert.False(t, v.off < w.off+w.Bytes && w.off < v.off+v.Bytes, "two living values overlap")
				}
			}
		}
	})
}

func TestLayoutShares(t *testing.T) {
	chain := make([]*Value, 10)
	for i := range chain {
		chain[i] = &Value{Name: "link", Bytes: 1000, first: i, last: i + 1}
	}
	total, err := layout(chain, 1<<20)
	require.NoError(t, err)
	assert.EqualValues(t, 2*1024, total, "a chain needs two buffers")
}

func TestLayoutRefusesWhatCannotBeAllocated(t *testing.T) {
	_, err := layout([]*Value{{Name: "stem.y", Bytes: 2 << 20}}, 1<<20)
	require.ErrorContains(t, err, "stem.y has 2097152 bytes, the device allocates at most 1048576")
}
