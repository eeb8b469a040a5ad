package train_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/seed-8d806880/vkeffnet/train"
)

func TestSampler(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "n")
		batch := rapid.IntRange(1, n).Draw(t, "batch")
		seed := rapid.Uint64().Draw(t, "seed")
		s, err := train.NewSampler(n, batch, seed)
		require.NoError(t, err)
		var all []int
		for step := range 2 * s.StepsPerEpoch() {
			epoch, index := s.Batch(step)
			assert.Equal(t, step/s.StepsPerEpoch(), epoch)
			assert.Len(t, index, batch)
			all = append(all, index...)
		}
		per := n / batch * batch
		for epoch := range 2 {
			once := slices.Clone(all[epoch*per : (epoch+1)*per])
			slices.Sort(once)
			assert.Len(t, slices.Compact(once), per, "each image at most once an epoch")
		}
		// A run that is resumed asks a new sampler for a step in the middle.
		resumed, err := train.NewSampler(n, batch, seed)
		require.NoError(t, err)
		step := rapid.IntRange(0, 2*s.StepsPerEpoch()-1).Draw(t, "step")
		_, index := resumed.Batch(step)
		assert.Equal(t, all[step*batch:(step+1)*batch], index)
	})
	for _, batch := range []int{0, -1, 11} {
		_, err := train.NewSampler(10, batch, 0)
		assert.ErrorContains(t, err, "want 1 to 10")
	}
}
