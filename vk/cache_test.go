package vk_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

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

// Two devices that start from the same file and compile different shaders leave a file that has both. RADV's caches hold
// real code; those of CPU drivers hold nothing.
func TestPipelineCachesMerge(t *testing.T) {
	radv, err := filepath.Glob("/usr/share/vulkan/icd.d/radeon_icd*.json")
	require.NoError(t, err)
	require.NotEmpty(t, radv, "RADV is not installed: apt-get install mesa-vulkan-drivers")
	setDrivers(t, radv[0])
	t.Setenv("RADV_FORCE_FAMILY", "NAVI21")
	t.Setenv("MESA_SHADER_CACHE_DISABLE", "true")
	dir := t.TempDir()
	device := func() *vk.Device { return open(t, &vk.Options{CacheDir: dir, CompileOnly: true}) }
	a, b := device(), device()
	size := func() int {
		info, err := os.Stat(vk.CachePath(a))
		require.NoError(t, err)
		return int(info.Size())
	}
	one := vk.Call{Shader: spin}
	other := vk.Call{Shader: saxpy}
	require.NoError(t, vk.Compile(a, one))
	first := size()
	require.NoError(t, vk.Compile(b, other))
	both := size()
	assert.Greater(t, both, first, "what the first device wrote is kept")

	only := t.TempDir()
	c := open(t, &vk.Options{CacheDir: only, CompileOnly: true})
	require.NoError(t, vk.Compile(c, other))
	second, err := os.ReadFile(vk.CachePath(c))
	require.NoError(t, err)
	assert.Greater(t, both, len(second), "what the second device wrote is kept")

	before, err := os.ReadFile(vk.CachePath(a))
	require.NoError(t, err)
	stamp, err := os.Stat(vk.CachePath(a))
	require.NoError(t, err)
	require.NoError(t, vk.Compile(device(), one, other))
	after, err := os.ReadFile(vk.CachePath(a))
	require.NoError(t, err)
	assert.Len(t, after, len(before), "nothing was compiled that the file had not")
	again, err := os.Stat(vk.CachePath(a))
	require.NoError(t, err)
	assert.Equal(t, stamp.ModTime(), again.ModTime(), "a start that compiles nothing writes nothing")
}

// A process that is killed after its first step leaves a cache. The test runs itself to be killed.
func TestKilledProcessLeavesCache(t *testing.T) {
	const variable = "VK_TEST_RUN_UNTIL_KILLED"
	if dir := os.Getenv(variable); dir != "" {
		d, err := vk.Open(&vk.Options{CacheDir: dir})
		require.NoError(t, err)
		rec := d.NewRecorder("cached")
		rec.Dispatch(callSpin(1, newBuffer(t, d, "y", 4096).Range()))
		p, err := rec.Build(context.Background(), nil)
		require.NoError(t, err)
		require.NoError(t, p.Run(context.Background()))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "ran"), []byte(vk.CachePath(d)), 0o644))
		select {}
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcessLeavesCache$")
	cmd.Env = append(os.Environ(), variable+"="+dir)
	require.NoError(t, cmd.Start())
	var path []byte
	assert.Eventually(t, func() bool {
		path, _ = os.ReadFile(filepath.Join(dir, "ran"))
		_, err := os.Stat(string(path))
		return len(path) > 0 && err == nil
	}, time.Minute, time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	good, err := os.ReadFile(string(path))
	require.NoError(t, err)
	again, log := useCache(t, dir)
	assert.Equal(t, string(path), again)
	assert.NotContains(t, log, "ignored")
	now, err := os.ReadFile(again)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(now), len(good), "something was lost") // SwiftShader adds a header at every start
}

// Build tells how far it is: of none first, then of each pipeline that did not exist.
func TestBuildTellsProgress(t *testing.T) {
	d := open(t, nil)
	x, y := newBuffer(t, d, "x", 4096), newBuffer(t, d, "y", 4096)
	var told [][2]int
	build := func(local ...uint32) {
		rec := d.NewRecorder("progress")
		for _, n := range local {
			c := callSaxpy(1, x.Range(), y.Range())
			c.Spec = []uint32{n, 0}
			rec.Dispatch(c)
			rec.Dispatch(c)
		}
		told = nil
		p, err := rec.Build(context.Background(), &vk.BuildOptions{Progress: func(done, total int) { told = append(told, [2]int{done, total}) }})
		require.NoError(t, err)
		p.Release()
	}
	build(32, 64, 128)
	assert.Equal(t, [][2]int{{0, 3}, {1, 3}, {2, 3}, {3, 3}}, told)
	build(64, 16)
	assert.Equal(t, [][2]int{{0, 1}, {1, 1}}, told)
	build(16, 32)
	assert.Empty(t, told)
	s := d.CompileStats()
	assert.Equal(t, 4, s.Pipelines)
	assert.Positive(t, s.Work)
	assert.Positive(t, s.Wall)
	assert.Positive(t, s.Threads)
}
