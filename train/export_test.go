package train

import (
	"io"

	"github.com/seed-8d806880/vkeffnet/kernels"
)

// Internals that tests look at.
type Source = source

var (
	NewSource   = newSource
	Permutation = permutation
)

const StreamAugment = streamAugment

func (s *source) Uniform() float64       { return s.uniform() }
func (s *source) Intn(n int) int         { return s.intn(n) }
func (s *source) Beta(a float64) float64 { return s.beta(a) }

func (a *Augment) RandAugment(s *Source, m float64, size int) (kernels.ImageOp, float32) {
	return a.randAugment(s, m, size)
}

func (a *Augment) Draw(at StepSettings, image, w, h int) (x, y, cw, ch int, row kernels.ImageRow) {
	r, row := a.draw(at, image, w, h)
	return r.x, r.y, r.w, r.h, row
}

func Shrink(px Pixels, x, y, w, h, size int) (pix []byte, sw, sh int) {
	return shrink(px, rect{x, y, w, h}, size)
}

func (c EvalCrop) Region(w, h, size int) (x, y, cw, ch int) {
	r := c.region(w, h, size)
	return r.x, r.y, r.w, r.h
}

// WriteCheckpoint is what SaveCheckpoint writes, to a file that may refuse.
func WriteCheckpoint(f interface {
	io.Writer
	io.WriterAt
}, s State, blobs []Blob) error {
	return writeCheckpoint(f, s, blobs)
}

// NewProgressAt is NewProgress with a clock and the choice that it makes.
var NewProgressAt = newProgress
