package train

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/seed-8d806880/vkeffnet/kernels"
)

// Label is the target of one image, a row of kernels.TargetsArgs.Labels: Lambda of class A and the rest of class B, times
// Weight. Padding weighs 0.
type Label struct {
	A, B           uint32
	Lambda, Weight float32
}

// LabelBytes is the size of an encoded Label.
const LabelBytes = 16

// Encode writes the label into the first LabelBytes of b.
func (l *Label) Encode(b []byte) {
	for i, v := range [4]uint32{l.A, l.B, math.Float32bits(l.Lambda), math.Float32bits(l.Weight)} {
		binary.LittleEndian.PutUint32(b[4*i:], v)
	}
}

// Request is a batch that a Loader is asked for.
type Request struct {
	StepSettings
	Index []int // images of the data set
	Valid int   // the first Valid images count; the rest fill the batch and have weight 0
	// Augment draws the images; nil: evaluation with EvalCrop.
	Augment  *Augment
	EvalCrop EvalCrop
}

// TrainRequests yields the training batches of a plan from step on, to its end.
func TrainRequests(p *Plan, s *Sampler, a *Augment, step int) func() (Request, bool) {
	return func() (Request, bool) {
		if step >= p.Steps {
			return Request{}, false
		}
		_, index := s.Batch(step)
		r := Request{StepSettings: p.At(step), Index: index, Valid: len(index), Augment: a}
		step++
		return r, true
	}
}

// EvalRequests yields n images once, in order, in batches of one size; the last one is filled with its last image.
func EvalRequests(n, batch, size int, crop EvalCrop) func() (Request, bool) {
	at, step := 0, 0
	return func() (Request, bool) {
		if at >= n {
			return Request{}, false
		}
		r := Request{StepSettings: StepSettings{Step: step, Size: size}, Valid: min(batch, n-at), EvalCrop: crop}
		for i := range batch {
			r.Index = append(r.Index, min(at+i, n-1))
		}
		at += batch
		step++
		return r, true
	}
}

// Batch is a loaded batch. Its Pixels are the front of one of the loader's buffers. The loader fills batch and buffer anew
// after Release: nothing of them may be used any more.
type Batch struct {
	Request
	Pixels []byte             // the packed source images, RGBX, in order, without gaps
	Images []kernels.ImageRow // one an image
	Labels []Label

	buffer []byte
	images []sample
	left   int // images still to be read; guarded by Loader.mu
	err    error
	done   chan struct{} // gets a value when the batch is packed
	loader *Loader
}

// sample is one image after decoding, cropping and shrinking.
type sample struct {
	pix []byte // of Loader.spare
	row kernels.ImageRow
	err error
}

// Encode writes the tables that the device reads: kernels.ImageRowBytes an image into images, LabelBytes into labels.
func (b *Batch) Encode(images, labels []byte) {
	for i := range b.Images {
		b.Images[i].Encode(images[i*kernels.ImageRowBytes:])
		b.Labels[i].Encode(labels[i*LabelBytes:])
	}
}

// Release gives the batch and its buffer back to the loader. Call it once, when the device has read Pixels.
func (b *Batch) Release() { b.loader.free <- b }

// LoaderConfig says what a Loader reads and where it puts it.
type LoaderConfig struct {
	Data    Dataset
	Next    func() (Request, bool) // TrainRequests or EvalRequests; false ends the sequence
	Buffers [][]byte               // one a batch in flight, each at least BatchBytes of the largest size; two or more overlap
	Workers int                    // goroutines that decode; 0: one a processor
}

// Loader reads batches ahead of their use, in order, in goroutines of its own: as many batches as it has buffers.
// Next and Close are for one goroutine; Batch.Release may be called from any. Batches and the memory of their images are
// used again and again, so that in the long run nothing is allocated but what the data set allocates.
type Loader struct {
	cfg    LoaderConfig
	cancel context.CancelFunc
	free   chan *Batch
	ready  chan *Batch
	work   chan task
	group  sync.WaitGroup
	mu     sync.Mutex
	spare  [][]byte // memory of samples that have been packed; guarded by mu
	failed error
}

type task struct {
	b *Batch
	i int
}

// ErrEnd is what Next returns after the last batch.
var ErrEnd = errors.New("train: end of the data")

// NewLoader starts reading. The caller closes the loader.
func NewLoader(cfg LoaderConfig) (*Loader, error) {
	if len(cfg.Buffers) == 0 {
		return nil, fmt.Errorf("train: loader got no buffer, want one or more")
	}
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Loader{
		cfg: cfg, cancel: cancel,
		free:  make(chan *Batch, len(cfg.Buffers)),
		ready: make(chan *Batch, len(cfg.Buffers)),
		work:  make(chan task),
	}
	for _, b := range cfg.Buffers {
		l.free <- &Batch{buffer: b, done: make(chan struct{}, 1), loader: l}
	}
	l.group.Add(1 + cfg.Workers)
	go l.dispatch(ctx)
	for range cfg.Workers {
		go l.read(ctx)
	}
	return l, nil
}

// dispatch hands out the images of one batch after the other, each when a buffer is free.
func (l *Loader) dispatch(ctx context.Context) {
	defer l.group.Done()
	defer close(l.ready)
	defer close(l.work)
	for {
		var b *Batch
		select {
		case b = <-l.free:
		case <-ctx.Done():
			return
		}
		r, ok := l.cfg.Next()
		if !ok {
			return
		}
		n := len(r.Index)
		b.Request, b.Pixels, b.left, b.err = r, nil, n, nil
		b.images, b.Images, b.Labels = resize(b.images, n), resize(b.Images, n), resize(b.Labels, n)
		l.ready <- b // has room: there are no more batches than buffers
		for i := range n {
			select {
			case l.work <- task{b, i}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// resize returns a slice of n elements in the memory of s where it suffices.
func resize[T any](s []T, n int) []T { return slices.Grow(s[:0], n)[:n] }

// read decodes images; whoever finishes a batch packs it.
func (l *Loader) read(ctx context.Context) {
	defer l.group.Done()
	var scratch []byte // of what the data set decodes
	for {
		select {
		case t, ok := <-l.work:
			if !ok {
				return
			}
			t.b.images[t.i] = l.sample(&t.b.Request, t.i, &scratch)
			l.mu.Lock()
			t.b.left--
			last := t.b.left == 0
			l.mu.Unlock()
			if last {
				t.b.err = t.b.pack()
				t.b.done <- struct{}{} // has room: Next takes it before the batch comes back
			}
		case <-ctx.Done():
			return
		}
	}
}

// inPlace is what a Dataset has whose images can be put into given memory, which is replaced where it does not suffice.
type inPlace interface {
	imageInto(i int, pix *[]byte) (Pixels, error)
}

// imageInto is Dataset.Image in given memory where the data set can do that.
func imageInto(d Dataset, i int, pix *[]byte) (Pixels, error) {
	if p, ok := d.(inPlace); ok {
		return p.imageInto(i, pix)
	}
	return d.Image(i)
}

// spareMemory returns memory of a sample that has been packed, or nil.
func (l *Loader) spareMemory() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.spare)
	if n == 0 {
		return nil
	}
	pix := l.spare[n-1]
	l.spare = l.spare[:n-1]
	return pix
}

// sample reads one image, crops it to what the step uses of it and shrinks it to fewer than twice the step's size.
func (l *Loader) sample(r *Request, i int, scratch *[]byte) sample {
	px, err := imageInto(l.cfg.Data, r.Index[i], scratch)
	if err != nil {
		return sample{err: err}
	}
	var s sample
	var region rect
	if r.Augment != nil {
		region, s.row = r.Augment.draw(r.StepSettings, r.Index[i], px.W, px.H)
		s.row.Partner = uint32(len(r.Index) - 1 - i)
	} else {
		region, s.row = r.EvalCrop.region(px.W, px.H, r.Size), kernels.ImageRow{Lambda: 1, Partner: uint32(i)}
	}
	var w, h int
	s.pix, w, h = shrink(l.spareMemory(), px, region, r.Size)
	s.row.Width, s.row.Height = uint32(w), uint32(h)
	s.row.CropWidth, s.row.CropHeight = scaled(region.w, r.Size), scaled(region.h, r.Size)
	return s
}

// pack copies the images into the buffer and fills the tables.
func (b *Batch) pack() error {
	defer b.spare()
	n := 0
	for _, s := range b.images {
		if s.err != nil {
			return s.err
		}
		n += len(s.pix)
	}
	if n > len(b.buffer) {
		return fmt.Errorf("train: a batch of %d images has %d bytes, want at most the buffer's %d", len(b.images), n, len(b.buffer))
	}
	at := 0
	for i, s := range b.images {
		copy(b.buffer[at:], s.pix)
		b.Images[i] = s.row
		b.Images[i].Offset = uint32(at / 4)
		at += len(s.pix)
		data := b.loader.cfg.Data
		weight := float32(1)
		if i >= b.Valid {
			weight = 0
		}
		b.Labels[i] = Label{
			A: uint32(data.Label(b.Index[i])), B: uint32(data.Label(b.Index[s.row.Partner])),
			Lambda: s.row.Lambda, Weight: weight,
		}
	}
	b.Pixels = b.buffer[:at]
	return nil
}

// spare gives the memory of the images back to the loader.
func (b *Batch) spare() {
	l := b.loader
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range b.images {
		if pix := b.images[i].pix; pix != nil {
			l.spare = append(l.spare, pix)
		}
		b.images[i] = sample{}
	}
}

// Next returns the next batch, ErrEnd after the last one, or ctx's error. The error of an image that cannot be read
// ends the sequence: Next returns it from then on.
func (l *Loader) Next(ctx context.Context) (*Batch, error) {
	if l.failed != nil {
		return nil, l.failed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case b, ok := <-l.ready:
		if !ok {
			l.failed = ErrEnd
			return nil, ErrEnd
		}
		select {
		case <-b.done:
			if b.err != nil {
				l.failed = b.err
				l.cancel()
				return nil, b.err
			}
			return b, nil
		case <-ctx.Done():
			l.failed = ctx.Err() // the batch is lost: going on would skip it
			l.cancel()
			return nil, l.failed
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close ends the goroutines and waits for them. Batches that have been returned stay valid.
func (l *Loader) Close() {
	l.cancel()
	l.group.Wait()
}
