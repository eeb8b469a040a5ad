package shadertest

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// guardWords fill the guards, another in each run: a NaN, which a shader that reads over an end carries into its
// results, and two plain numbers, which adding to changes. What depends on a guard also differs between the runs.
var guardWords = []uint32{0x7fc0dead, 0x3f9d3c1b, 0xc0decafe}

const (
	outputWord = 0x7fc00bad      // a NaN: an output element that no invocation wrote
	patience   = 5 * time.Minute // for all runs of a case; a software driver is slow, a hang is endless
)

// Case is one run of shaders over buffers of its own. It is for one test and not for concurrent use.
type Case struct {
	t    testing.TB
	dev  *vk.Device
	bufs []*Buf
}

// New returns an empty case; the buffers that it makes are released at the end of the test.
func New(t testing.TB, dev *vk.Device) *Case {
	return &Case{t: t, dev: dev}
}

// Buf is a buffer between two guards.
type Buf struct {
	c      *Case
	buf    *vk.Buffer
	guard  int64  // bytes before and after
	start  []byte // content before every run, guards included
	after  []byte // content after the run
	access vk.Access
}

// Input makes a buffer of x that no shader may change.
func (c *Case) Input(x []float32) *Buf {
	c.t.Helper()
	return c.add(floatBytes(x), vk.Read)
}

// InputWords is Input of integers.
func (c *Case) InputWords(x []uint32) *Buf {
	c.t.Helper()
	return c.add(wordBytes(x), vk.Read)
}

// InputBytes is Input of bytes, a multiple of four of them.
func (c *Case) InputBytes(x []byte) *Buf {
	c.t.Helper()
	return c.add(x, vk.Read)
}

// InOut makes a buffer that starts as x in every run: for results that are accumulated or computed in place.
func (c *Case) InOut(x []float32) *Buf {
	c.t.Helper()
	return c.add(floatBytes(x), vk.Read|vk.Write)
}

// InOutWords is InOut of integers.
func (c *Case) InOutWords(x []uint32) *Buf {
	c.t.Helper()
	return c.add(wordBytes(x), vk.Read|vk.Write)
}

// Output makes a buffer of n 32-bit words that start as NaN. It serves for scratch memory as well.
func (c *Case) Output(n int) *Buf {
	c.t.Helper()
	x := make([]uint32, n)
	for i := range x {
		x[i] = outputWord
	}
	return c.add(wordBytes(x), vk.Write)
}

// OutputBytes is Output of a size in bytes, rounded up to whole words; 0 gives a Buf with the zero Range.
func (c *Case) OutputBytes(size int64) *Buf {
	c.t.Helper()
	if size == 0 {
		return &Buf{c: c}
	}
	return c.Output(int((size + 3) / 4))
}

func (c *Case) add(data []byte, access vk.Access) *Buf {
	c.t.Helper()
	if len(data) == 0 || len(data)%4 != 0 {
		c.t.Fatalf("shadertest: a buffer of %d bytes, want a multiple of 4 above 0", len(data))
	}
	guard := max(256, int64(c.dev.Limits().OffsetAlign))
	size := guard + int64(len(data)) + guard
	b := &Buf{c: c, guard: guard, start: make([]byte, size), after: make([]byte, size), access: access}
	copy(b.start[guard:], data)
	var err error
	if b.buf, err = c.dev.NewBuffer(c.t.Name(), size, vk.DeviceMemory); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(b.buf.Release)
	c.bufs = append(c.bufs, b)
	return b
}

// Run records f once and runs the recording three times, each time from the buffers' first content. It fails the test
// when f or the device reports an error, when the runs differ in a bit, or when a guard or an input has changed.
func (c *Case) Run(f func(rec *vk.Recorder)) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rec := c.dev.NewRecorder(c.t.Name())
	f(rec)
	p, err := rec.Build(ctx, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer p.Release()
	for i, guard := range guardWords {
		run := i + 1
		for _, b := range c.bufs {
			b.setGuards(guard)
			if err := c.dev.Upload(b.buf.Range(), b.start); err != nil {
				c.t.Fatal(err)
			}
		}
		if err := p.Run(ctx); err != nil {
			c.t.Fatalf("run %d: %v", run, err)
		}
		for i, b := range c.bufs {
			b.collect(i, run)
		}
	}
	if err := c.dev.Err(); err != nil {
		c.t.Fatal(err)
	}
}

// setGuards fills the guards of b.start.
func (b *Buf) setGuards(word uint32) {
	end := int64(len(b.start)) - b.guard
	for i := int64(0); i < b.guard; i += 4 {
		binary.LittleEndian.PutUint32(b.start[i:], word)
		binary.LittleEndian.PutUint32(b.start[end+i:], word)
	}
}

// collect downloads the buffer after a run and checks what must not have changed. index is its place in the case.
func (b *Buf) collect(index, run int) {
	t := b.c.t
	t.Helper()
	got := make([]byte, len(b.start))
	if err := b.c.dev.Download(b.buf.Range(), got); err != nil {
		t.Fatal(err)
	}
	end := int64(len(got)) - b.guard
	if at := firstDiff(got[:b.guard], b.start[:b.guard]); at >= 0 {
		t.Errorf("run %d: buffer %d: word %d before its start was overwritten with %#08x", run, index,
			(b.guard-int64(at))/4, binary.LittleEndian.Uint32(got[at:]))
	}
	if at := firstDiff(got[end:], b.start[end:]); at >= 0 {
		t.Errorf("run %d: buffer %d: word %d after its last was overwritten with %#08x", run, index,
			at/4+1, binary.LittleEndian.Uint32(got[end+int64(at):]))
	}
	data := got[b.guard:end]
	if b.access == vk.Read {
		if at := firstDiff(data, b.start[b.guard:end]); at >= 0 {
			t.Errorf("run %d: buffer %d is an input: its word %d became %#08x", run, index, at/4, binary.LittleEndian.Uint32(data[at:]))
		}
	}
	if run > 1 {
		if at := firstDiff(data, b.after[b.guard:end]); at >= 0 {
			t.Errorf("run %d: buffer %d: word %d is %#08x, and was %#08x in the run before", run, index, at/4,
				binary.LittleEndian.Uint32(data[at:]), binary.LittleEndian.Uint32(b.after[b.guard+int64(at):]))
		}
	}
	b.after = got
}

// firstDiff returns the offset of the first 32-bit word in which a and b differ, or -1.
func firstDiff(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	i := 0
	for a[i] == b[i] {
		i++
	}
	return i &^ 3
}

// Range is the data without the guards; the zero Range for a Buf of no bytes.
func (b *Buf) Range() vk.Range {
	if b.buf == nil {
		return vk.Range{}
	}
	return b.buf.Range().Slice(b.guard, int64(len(b.start))-2*b.guard)
}

// Bytes is the data after the last Run.
func (b *Buf) Bytes() []byte {
	return b.after[b.guard : int64(len(b.after))-b.guard]
}

// Float32s is Bytes as numbers.
func (b *Buf) Float32s() []float32 {
	data := b.Bytes()
	x := make([]float32, len(data)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return x
}

// Words is Bytes as integers.
func (b *Buf) Words() []uint32 {
	data := b.Bytes()
	x := make([]uint32, len(data)/4)
	for i := range x {
		x[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	return x
}

func floatBytes(x []float32) []byte {
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func wordBytes(x []uint32) []byte {
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}
