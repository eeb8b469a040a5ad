package vk_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/vk"
)

func TestManyBuffersFewAllocations(t *testing.T) {
	d := open(t, nil)
	var all []*vk.Buffer
	for i := range 1000 {
		all = append(all, newBuffer(t, d, fmt.Sprint(i), int64(1+37*i)))
	}
	assert.LessOrEqual(t, vk.Blocks(d), int64(4))
	for i, b := range all { // no buffer lies on another
		if m := b.Bytes(); m != nil {
			for j := range m {
				m[j] = byte(i)
			}
		}
	}
	for i, b := range all {
		assert.Equal(t, bytes.Repeat([]byte{byte(i)}, len(b.Bytes())), b.Bytes())
		assert.Equal(t, int64(1+37*i), b.Size())
		b.Release()
		b.Release()
		assert.Nil(t, b.Bytes())
	}
	assert.Zero(t, vk.Blocks(d), "empty blocks are freed")
	assert.Zero(t, vk.Used(d))
	var none *vk.Buffer
	none.Release()
}

func TestOutOfMemory(t *testing.T) {
	d := open(t, &vk.Options{Lower: &vk.Limits{Heap: 16 << 20, MaxAllocation: 8 << 20}})
	_, err := d.NewBuffer("one too large", 9<<20, vk.DeviceMemory)
	require.ErrorIs(t, err, vk.ErrOutOfMemory)
	var e *vk.MemoryError
	require.ErrorAs(t, err, &e)
	assert.Equal(t, vk.MemoryError{Buffer: "one too large", Want: 9 << 20, Limit: 8 << 20}, *e)

	a := newBuffer(t, d, "a", 8<<20)
	newBuffer(t, d, "b", 7<<20) // in a block of 8 MiB
	_, err = d.NewBuffer("c", 2<<20, vk.DeviceMemory)
	require.ErrorIs(t, err, vk.ErrOutOfMemory)
	assert.ErrorContains(t, err, fmt.Sprintf("vk: buffer c: out of memory: want %d bytes, %d are in use, limit %d", 2<<20, 16<<20, 16<<20))
	newBuffer(t, d, "d", 1<<20) // what is left of it
	a.Release()
	newBuffer(t, d, "e", 8<<20)
	_, err = d.NewBuffer("none", 0, vk.DeviceMemory)
	assert.ErrorContains(t, err, "size is 0")
	_, err = d.NewBuffer("odd", 4, 9)
	assert.ErrorContains(t, err, "kind of memory is 9")
}

// Every kind of memory carries data both ways, also in more chunks than the staging ring has slots.
func TestUploadDownload(t *testing.T) {
	for _, disable := range [][]string{nil, {"unifiedMemory"}} {
		d := open(t, &vk.Options{Disable: disable, Validate: true})
		want := make([]byte, 17<<20+12)
		for i := range want {
			want[i] = byte(i * 7 >> 3)
		}
		for _, kind := range []vk.MemoryKind{vk.DeviceMemory, vk.UploadMemory, vk.ReadbackMemory} {
			b, err := d.NewBuffer("b", int64(len(want))+512, kind)
			require.NoError(t, err)
			if kind != vk.DeviceMemory || disable == nil && d.IsCPU() {
				assert.Len(t, b.Bytes(), int(b.Size()))
			}
			if kind == vk.DeviceMemory && disable != nil {
				assert.Nil(t, b.Bytes())
			}
			r := b.Range().Slice(256, int64(len(want)))
			require.NoError(t, d.Upload(b.Range(), make([]byte, b.Size())))
			require.NoError(t, d.Upload(r, want))
			got := make([]byte, len(want))
			require.NoError(t, d.Download(r, got))
			assert.True(t, bytes.Equal(want, got))
			guard := make([]byte, 256)
			for _, off := range []int64{0, 256 + r.Size} {
				require.NoError(t, d.Download(b.Range().Slice(off, 256), guard))
				assert.Equal(t, make([]byte, 256), guard)
			}
			b.Release()
		}
	}
}

// A program sees what was uploaded, and copies between kinds of memory.
func TestCopyBetweenKinds(t *testing.T) {
	d := open(t, &vk.Options{Disable: []string{"unifiedMemory"}})
	up, err := d.NewBuffer("up", 1024, vk.UploadMemory)
	require.NoError(t, err)
	down, err := d.NewBuffer("down", 1024, vk.ReadbackMemory)
	require.NoError(t, err)
	mid := newBuffer(t, d, "mid", 1024)
	rec := d.NewRecorder("kinds")
	rec.Copy(mid.Range(), up.Range())
	rec.Dispatch(callSaxpy(1, up.Range(), mid.Range()))
	rec.Copy(down.Range(), mid.Range())
	p, err := rec.Build(context.Background(), nil)
	require.NoError(t, err)
	for i := range 3 {
		copy(up.Bytes(), repeat(float32(i), 256))
		require.NoError(t, p.Run(context.Background()))
		assert.Equal(t, repeat(float32(2*i), 256), down.Bytes())
	}
}

func TestZeros(t *testing.T) {
	d := open(t, nil)
	small, err := d.Zeros(100)
	require.NoError(t, err)
	again, err := d.Zeros(small.Size)
	require.NoError(t, err)
	assert.Equal(t, small, again, "one range for all")
	large, err := d.Zeros(small.Size + 1)
	require.NoError(t, err)
	for _, r := range []vk.Range{small, large} {
		got := bytes.Repeat([]byte{1}, int(r.Size))
		require.NoError(t, d.Download(r, got))
		assert.Equal(t, make([]byte, r.Size), got)
	}
	assert.Greater(t, large.Size, small.Size)
}
