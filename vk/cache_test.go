package vk_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// useCache builds and runs a program on a device with this cache and returns the cache's file and the log.
func useCache(t *testing.T, dir string) (path, log string) {
	t.Helper()
	var text bytes.Buffer
	d, err := vk.Open(&vk.Options{CacheDir: dir, Log: slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	require.NoError(t, err)
	rec := d.NewRecorder("cached")
	rec.Dispatch(callSpin(1, newBuffer(t, d, "y", 4096).Range()))
	p, err := rec.Build(context.Background(), nil)
	require.NoError(t, err)
	require.NoError(t, p.Run(context.Background()))
	path = vk.CachePath(d)
	require.NoError(t, d.Close())
	return path, text.String()
}

func TestPipelineCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "when", "needed")
	path, log := useCache(t, dir)
	assert.Contains(t, log, "pipeline cache written")
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	_, log = useCache(t, dir)
	assert.NotContains(t, log, "ignored")

	flip := func(i int) []byte {
		b := bytes.Clone(good)
		b[i] ^= 1
		return b
	}
	for name, bad := range map[string][]byte{
		"empty": {}, "cut": good[:len(good)-1], "half": good[:30], "other format": flip(3), "other driver": flip(32),
		"wrong sum": flip(60), "damaged data": flip(len(good) - 1), "longer": append(bytes.Clone(good), 0),
	} {
		require.NoError(t, os.WriteFile(path, bad, 0o644))
		_, log = useCache(t, dir)
		assert.Contains(t, log, "pipeline cache ignored", name)
		again, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Len(t, again, len(good), "%s: written anew", name)
	}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, files, 1, "nothing temporary is left")
}

// A folder that cannot be written costs the cache, says so, and nothing else.
func TestPipelineCacheCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	var text bytes.Buffer
	d, err := vk.Open(&vk.Options{CacheDir: file, Log: slog.New(slog.NewTextHandler(&text, nil))})
	require.NoError(t, err)
	rec := d.NewRecorder("cached")
	rec.Dispatch(callSpin(1, newBuffer(t, d, "y", 4096).Range()))
	_, err = rec.Build(context.Background(), nil)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	assert.Contains(t, text.String(), "pipeline cache not written")
}
