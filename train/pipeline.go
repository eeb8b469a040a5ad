package train

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// slots is how many batches are between the loader and the device: one that the device computes on, one that waits for
// it, and one that is being read. It is more than ahead.
const slots = 3

// staging is the host-visible memory of the batches in flight, shared by all image sizes of a run.
type staging struct {
	slots  [slots]*slot
	pixels *vk.Buffer // on the device
	table  *vk.Buffer
}

// slot is one batch's part of it.
type slot struct {
	pixels *vk.Buffer // Batch.Pixels; the loader writes into it
	input  *vk.Buffer // step scalars, then the labels, then the image table
	output *vk.Buffer // what comes back, each result at a multiple of 256 bytes
	batch  int
}

func (s *slot) scalars() vk.Range { return s.input.Range().Slice(0, kernels.StepBytes) }
func (s *slot) labels() vk.Range {
	return s.input.Range().Slice(kernels.StepBytes, 16*int64(s.batch))
}
func (s *slot) table() vk.Range {
	return s.input.Range().Slice(s.tableOffset(), kernels.ImageRowBytes*int64(s.batch))
}

// tableOffset keeps the table where a binding may start.
func (s *slot) tableOffset() int64 { return kernels.StepBytes + (16*int64(s.batch)+255)/256*256 }

// newStaging allocates room for batches of so many images in at most pixelBytes, and for results of so many bytes.
func newStaging(dev *vk.Device, batch int, pixelBytes, resultBytes int64) (_ *staging, err error) {
	g := &staging{}
	defer func() {
		if err != nil {
			g.release()
			err = fmt.Errorf("train: staging memory for batches of %d images: %w", batch, err)
		}
	}()
	alloc := func(b **vk.Buffer, name string, bytes int64, kind vk.MemoryKind) {
		if err == nil {
			*b, err = dev.NewBuffer(name, bytes, kind)
		}
	}
	for i := range g.slots {
		s := &slot{batch: batch}
		g.slots[i] = s
		alloc(&s.pixels, "pixels", pixelBytes, vk.UploadMemory)
		alloc(&s.input, "batch", s.tableOffset()+kernels.ImageRowBytes*int64(batch), vk.UploadMemory)
		alloc(&s.output, "results", resultBytes, vk.ReadbackMemory)
	}
	alloc(&g.pixels, "pixels", pixelBytes, vk.DeviceMemory)
	alloc(&g.table, "image table", kernels.ImageRowBytes*int64(batch), vk.DeviceMemory)
	return g, err
}

func (g *staging) release() {
	buffers := []*vk.Buffer{g.pixels, g.table}
	for _, s := range g.slots {
		if s != nil {
			buffers = append(buffers, s.pixels, s.input, s.output)
		}
	}
	for _, b := range buffers {
		if b != nil {
			b.Release()
		}
	}
}

// buffers are what the loader writes pixels into.
func (g *staging) buffers() [][]byte {
	var b [][]byte
	for _, s := range g.slots {
		b = append(b, s.pixels.Bytes())
	}
	return b
}

// of finds the slot whose memory a batch was read into.
func (g *staging) of(b *Batch) int {
	for i, s := range g.slots {
		if &b.Pixels[0] == &s.pixels.Bytes()[0] {
			return i
		}
	}
	panic("train: internal error: a batch outside the staging memory")
}

// write puts a batch's tables and the step's scalars into the slot.
func (s *slot) write(b *Batch, scalars kernels.StepScalars) {
	in := s.input.Bytes()
	scalars.Encode(in)
	b.Encode(in[s.tableOffset():], in[kernels.StepBytes:])
}

// pipeline runs one network at one image size: a program that turns a slot's batch into the network's input, the
// network's step, and a program that brings its results back. One of the first and last kind is recorded for each slot.
type pipeline struct {
	net     *effnetv2.Network
	packed  [2]*vk.Buffer // images between crop, augmentation and normalisation
	before  [slots]*vk.Program
	after   [slots]*vk.Program
	staging *staging
}

// pipelineConfig is what a pipeline is made of.
type pipelineConfig struct {
	size      int
	elem      kernels.Elem // of the network's input
	ops       int          // RandAugment operations
	mean, std [3]float32
	step      vk.Range // the scalars on the device
	pixels    int64    // bytes that a batch's sources can take at this size
}

// resultOffset is where the result after one of the given size and place starts.
func resultOffset(off, bytes int64) int64 { return off + (bytes+255)/256*256 }

// newPipeline compiles the programs around a network that has been realized; results are what comes back of a step.
func newPipeline(ctx context.Context, dev *vk.Device, net *effnetv2.Network, g *staging, compiling *Compiling, c pipelineConfig, results ...*layers.Value) (_ *pipeline, err error) {
	p := &pipeline{net: net, staging: g}
	defer func() {
		if err != nil {
			p.release()
		}
	}()
	n := g.slots[0].batch
	for i := range p.packed {
		if p.packed[i], err = dev.NewBuffer("packed images", 4*int64(n)*int64(c.size)*int64(c.size), vk.DeviceMemory); err != nil {
			return nil, fmt.Errorf("train: images of %dx%d: %w", c.size, c.size, err)
		}
	}
	crop, err := kernels.NewImageCrop(dev, kernels.ImageCropConfig{N: n, H: c.size, W: c.size})
	if err != nil {
		return nil, err
	}
	normalize, err := kernels.NewImageNormalize(dev, kernels.ImageNormalizeConfig{N: n, H: c.size, W: c.size, Elem: c.elem, Mean: c.mean, Std: c.std})
	if err != nil {
		return nil, err
	}
	for i, s := range g.slots {
		rec := dev.NewRecorder("images")
		pixels := g.pixels.Range().Slice(0, c.pixels)
		rec.Copy(pixels, s.pixels.Range().Slice(0, c.pixels))
		rec.Copy(g.table.Range(), s.table())
		rec.Copy(c.step, s.scalars())
		rec.Copy(net.Loss.Labels.Range(), s.labels())
		crop.Record(rec, kernels.ImageCropArgs{Pixels: pixels, Table: g.table.Range(), Out: p.packed[0].Range()})
		from, to := p.packed[0].Range(), p.packed[1].Range()
		for pass := range c.ops {
			op, err := kernels.NewImageAugment(dev, kernels.ImageAugmentConfig{N: n, H: c.size, W: c.size, Pass: pass})
			if err != nil {
				return nil, err
			}
			op.Record(rec, kernels.ImageAugmentArgs{Image: from, Table: g.table.Range(), Out: to})
			from, to = to, from
		}
		normalize.Record(rec, kernels.ImageNormalizeArgs{Image: from, Table: g.table.Range(), Out: net.Image.Range()})
		if p.before[i], err = rec.Build(ctx, compiling.Options()); err != nil {
			return nil, err
		}
		rec = dev.NewRecorder("results")
		off := int64(0)
		for _, r := range results {
			rec.Copy(s.output.Range().Slice(off, r.Bytes), r.Range())
			off = resultOffset(off, r.Bytes)
		}
		if p.after[i], err = rec.Build(ctx, nil); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *pipeline) release() {
	for _, prog := range append(p.before[:], p.after[:]...) {
		if prog != nil {
			prog.Release()
		}
	}
	for _, b := range p.packed {
		if b != nil {
			b.Release()
		}
	}
}

// flight is a step that the device has been given and whose results have not been read.
type flight struct {
	batch *Batch
	slot  *slot
	end   vk.Submission
}

// submit gives a batch to the device and does not wait for it.
func (p *pipeline) submit(b *Batch, scalars kernels.StepScalars) (f flight, err error) {
	i := p.staging.of(b)
	f = flight{batch: b, slot: p.staging.slots[i]}
	f.slot.write(b, scalars)
	for _, prog := range [...]*vk.Program{p.before[i], p.net.Step(), p.after[i]} {
		if f.end, err = prog.Submit(); err != nil {
			return flight{}, err
		}
	}
	return f, nil
}

// wait returns what the step left in the slot's output, valid until the batch is released.
func (f *flight) wait(ctx context.Context) ([]byte, error) {
	if err := f.end.Wait(ctx); err != nil {
		return nil, err
	}
	return f.slot.output.Bytes(), nil
}

// word reads a float32 of a result.
func word(b []byte, i int) float64 {
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
}

// narrow converts a normalisation to the device's type.
func narrow(x [3]float64) [3]float32 {
	return [3]float32{float32(x[0]), float32(x[1]), float32(x[2])}
}

// drain waits for the steps in flight, oldest first.
func drain(ctx context.Context, flights []flight, read func(*flight, []byte) error) error {
	var errs error
	for i := range flights {
		f := &flights[i]
		out, err := f.wait(ctx)
		if err == nil {
			err = read(f, out)
		}
		f.batch.Release()
		if err != nil {
			errs = errors.Join(errs, err)
		}
	}
	return errs
}
