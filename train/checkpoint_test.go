package train_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/seed-8d806880/vkeffnet/train"
)

// pattern returns n bytes that depend on a seed.
func pattern(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewPCG(seed, 1)
	for i := range b {
		b[i] = byte(r.Uint64())
	}
	return b
}

func readBlob(t require.TestingT, c *train.Checkpoint, name string) []byte {
	r, n, err := c.Blob(name)
	require.NoError(t, err)
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	assert.Len(t, b, int(n))
	return b
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestCheckpoint(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		s := train.State{Step: rapid.IntRange(0, 1e9).Draw(rt, "step"), Epoch: 1.5, Seed: rapid.Uint64().Draw(rt, "seed"),
			Extra: map[string]string{rapid.String().Draw(rt, "key"): rapid.StringN(0, 20, -1).Draw(rt, "value")}}
		s.Extra["crc32c"] = `","crc32c":"00000000"` // must not be taken for the checksum
		var blobs []train.Blob
		content := map[string][]byte{}
		for i := range rapid.IntRange(0, 5).Draw(rt, "blobs") {
			name, data := fmt.Sprintf("blob %d", i), pattern(uint64(i), 4*rapid.IntRange(0, 3000).Draw(rt, "words"))
			content[name] = data
			b := train.ByteBlob(name, data)
			b.Type = rapid.SampledFrom([]string{"", "F32", "U8"}).Draw(rt, "type")
			blobs = append(blobs, b)
		}
		file, err := train.SaveCheckpoint(dir, s, blobs, 1)
		require.NoError(rt, err)
		c, err := train.OpenCheckpoint(file)
		require.NoError(rt, err)
		defer c.Close()
		assert.Equal(rt, s, c.State)
		assert.Len(rt, c.Blobs(), len(content))
		for name, data := range content {
			assert.True(rt, bytes.Equal(data, readBlob(rt, c, name)), name)
		}
		_, _, err = c.Blob("other")
		assert.ErrorContains(rt, err, `got no "other"`)

		// One byte that changes anywhere, or one that is missing or added at the end, is noticed.
		whole, err := os.ReadFile(file)
		require.NoError(rt, err)
		damaged := bytes.Clone(whole)
		switch at := rapid.IntRange(0, len(whole)-1).Draw(rt, "damage"); rapid.SampledFrom([]string{"change", "cut", "append"}).Draw(rt, "kind") {
		case "change":
			damaged[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		case "cut":
			damaged = damaged[:at]
		case "append":
			damaged = append(damaged, 0)
		}
		require.NoError(rt, os.WriteFile(file, damaged, 0o644))
		_, err = train.OpenCheckpoint(file)
		var corrupt *train.CorruptError
		require.ErrorAs(rt, err, &corrupt)
	})
}

func TestCheckpointsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoints")
	save := func(step int) string {
		file, err := train.SaveCheckpoint(dir, train.State{Step: step}, []train.Blob{train.ByteBlob("w", pattern(uint64(step), 99))}, 2)
		require.NoError(t, err)
		return file
	}
	require.NoError(t, train.KeepCheckpoint(save(1), "best"))
	save(2)
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".step-00000003.safetensors.1.part"), []byte("left by a crash"), 0o644))
	third := save(3)
	assert.Equal(t, []string{"best.safetensors", "step-00000002.safetensors", "step-00000003.safetensors"}, names(t, dir))
	c, err := train.OpenCheckpoint(filepath.Join(dir, "best.safetensors"))
	require.NoError(t, err)
	assert.Equal(t, 1, c.State.Step, "outlives the newest two")
	require.NoError(t, c.Close())

	for range 2 { // replaces the old one, also when it is the same file
		require.NoError(t, train.KeepCheckpoint(third, "best"))
	}
	require.NoError(t, train.KeepCheckpoint(third, "stage-1"))
	assert.Equal(t, []string{"best.safetensors", "stage-1.safetensors", "step-00000002.safetensors", "step-00000003.safetensors"}, names(t, dir))

	c, skipped, err := train.LatestCheckpoint(dir)
	require.NoError(t, err)
	assert.Equal(t, 3, c.State.Step)
	assert.Empty(t, skipped)
	require.NoError(t, c.Close())
	require.NoError(t, os.Truncate(third, 50))
	c, skipped, err = train.LatestCheckpoint(dir)
	require.NoError(t, err)
	assert.Equal(t, 2, c.State.Step, "the newest that is whole")
	assert.Len(t, skipped, 1)
	assert.ErrorContains(t, skipped[0], third)
	require.NoError(t, c.Close())
	require.NoError(t, os.Truncate(filepath.Join(dir, "step-00000002.safetensors"), 0))
	_, _, err = train.LatestCheckpoint(dir)
	assert.ErrorContains(t, err, "no usable checkpoint")

	_, _, err = train.LatestCheckpoint(t.TempDir())
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

func TestCheckpointErrors(t *testing.T) {
	dir := t.TempDir()
	for want, blobs := range map[string][]train.Blob{
		`blob "a" wrote 2 bytes, want 3`:        {{Name: "a", Size: 3, Write: train.ByteBlob("", []byte{1, 2}).Write}},
		`blob "a" has 3 bytes of type "F32"`:    {{Name: "a", Type: "F32", Size: 3}},
		`blob name "a" is empty or given twice`: {train.ByteBlob("a", nil), train.ByteBlob("a", nil)},
		`blob name "" is empty or given twice`:  {train.ByteBlob("", nil)},
		"device is lost":                        {{Name: "a", Size: 3, Write: func(io.Writer) error { return fmt.Errorf("device is lost") }}},
	} {
		_, err := train.SaveCheckpoint(dir, train.State{}, blobs, 1)
		assert.ErrorContains(t, err, want)
		assert.Empty(t, names(t, dir), "nothing half-written")
	}
	file := filepath.Join(dir, "weights.safetensors")
	require.NoError(t, os.WriteFile(file, append([]byte{2, 0, 0, 0, 0, 0, 0, 0}, "{}"...), 0o644))
	_, err := train.OpenCheckpoint(file)
	assert.ErrorContains(t, err, "want a checkpoint written by train")
}

// limited refuses what goes beyond a number of bytes, as a full disk does.
type limited struct{ left int }

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (l *limited) WriteAt(p []byte, _ int64) (int, error) { return l.Write(p) }

// TestFullDisk lets the room end at every point of a checkpoint; on a small file system of its own, where one may be
// mounted, nothing half-written stays and the checkpoint before stays usable.
func TestFullDisk(t *testing.T) {
	blobs := []train.Blob{train.ByteBlob("a", pattern(1, 300)), train.ByteBlob("b", pattern(2, 200))}
	for room := 0; ; room++ {
		l := &limited{left: room}
		if err := train.WriteCheckpoint(l, train.State{}, blobs); err == nil {
			assert.Greater(t, room, 500)
			break
		} else {
			assert.ErrorIs(t, err, syscall.ENOSPC)
		}
	}

	dir := t.TempDir()
	if err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256k", "none", dir).Run(); err != nil {
		t.Logf("no file system can be mounted here: %v", err)
		return
	}
	defer exec.Command("umount", dir).Run()
	before, err := train.SaveCheckpoint(dir, train.State{Step: 1}, []train.Blob{train.ByteBlob("w", pattern(1, 100<<10))}, 3)
	require.NoError(t, err)
	_, err = train.SaveCheckpoint(dir, train.State{Step: 2}, []train.Blob{train.ByteBlob("w", pattern(1, 200<<10))}, 3)
	var full *train.FullError
	require.ErrorAs(t, err, &full)
	assert.ErrorContains(t, err, "no space left on device")
	assert.NotEmpty(t, full.Hint())
	assert.Equal(t, []string{filepath.Base(before)}, names(t, dir))
	c, _, err := train.LatestCheckpoint(dir)
	require.NoError(t, err)
	assert.Equal(t, pattern(1, 100<<10), readBlob(t, c, "w"))
	require.NoError(t, c.Close())
}

// TestKilled runs this test's program again as a run that saves checkpoints without end, and kills it. Whatever it was
// doing, the newest checkpoint is whole.
func TestKilled(t *testing.T) {
	const variable = "TRAIN_TEST_SAVE_UNTIL_KILLED"
	if dir := os.Getenv(variable); dir != "" {
		for step := 1; ; step++ {
			file, err := train.SaveCheckpoint(dir, train.State{Step: step}, []train.Blob{train.ByteBlob("w", pattern(uint64(step), 1<<16))}, 2)
			require.NoError(t, err)
			require.NoError(t, train.KeepCheckpoint(file, "best"))
		}
	}
	dir, last := t.TempDir(), 0
	for round := range 8 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), variable+"="+dir)
		require.NoError(t, cmd.Start())
		time.Sleep(time.Duration(40+7*round) * time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		cmd.Wait()
		c, skipped, err := train.LatestCheckpoint(dir)
		if last == 0 && err != nil {
			continue // killed before the first one was there
		}
		require.NoError(t, err)
		assert.Empty(t, skipped)
		last = c.State.Step
		assert.Equal(t, pattern(uint64(last), 1<<16), readBlob(t, c, "w"))
		require.NoError(t, c.Close())
		best, err := train.OpenCheckpoint(filepath.Join(dir, "best.safetensors"))
		if err == nil {
			best.Close()
		} else {
			assert.ErrorIs(t, err, fs.ErrNotExist, "whole, or not yet there")
		}
	}
	assert.NotZero(t, last)
}
