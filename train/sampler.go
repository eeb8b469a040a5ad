package train

import (
	"fmt"
	"sync"
)

// Sampler says which images make up the batch of a training step. Each epoch visits every image once, in an order
// that depends on (Seed, epoch) alone; the images that do not fill a last batch are left out of that epoch.
// It is safe for concurrent use.
type Sampler struct {
	n, batch int
	seed     uint64

	mu    sync.Mutex // guards the order of the epoch asked for last
	epoch int
	order []int
}

// NewSampler returns a sampler of n images in batches of the given size. It returns an error when not one batch can
// be filled.
func NewSampler(n, batch int, seed uint64) (*Sampler, error) {
	if batch < 1 || batch > n {
		return nil, fmt.Errorf("train: got batches of %d images of a training set of %d, want 1 to %d", batch, n, n)
	}
	return &Sampler{n: n, batch: batch, seed: seed, epoch: -1}, nil
}

// StepsPerEpoch is the number of full batches in an epoch.
func (s *Sampler) StepsPerEpoch() int { return s.n / s.batch }

// Batch returns the epoch of a step and its images, which are the caller's to read only. Steps count from 0 over all epochs.
func (s *Sampler) Batch(step int) (epoch int, index []int) {
	epoch = step / s.StepsPerEpoch()
	at := step % s.StepsPerEpoch() * s.batch
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != epoch {
		s.epoch, s.order = epoch, permutation(s.seed, streamOrder, uint32(epoch), s.n)
	}
	return epoch, s.order[at : at+s.batch : at+s.batch] // the next epoch's order gets memory of its own
}
