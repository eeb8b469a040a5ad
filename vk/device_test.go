package vk_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// A machine without a loader gets one sentence that names the packages. The test runs itself once more, since a
// process that has a loader keeps it.
func TestNoLoader(t *testing.T) {
	if os.Getenv("VK_TEST_LIBRARY") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestNoLoader$", "-test.v")
		cmd.Env = append(os.Environ(), "VK_TEST_LIBRARY=libvulkan-not-installed.so.1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: TestNoLoader")
		return
	}
	_, err := vk.Open(nil)
	require.ErrorIs(t, err, vk.ErrNoLoader)
	assert.ErrorContains(t, err, "apt-get install libvulkan1 mesa-vulkan-drivers")
	assert.NotContains(t, err.Error(), "\n")
	_, err = vk.Devices(nil)
	assert.ErrorIs(t, err, vk.ErrNoLoader)
}

// writeICD writes the manifest of a driver.
func writeICD(t *testing.T, library string) string {
	t.Helper()
	m := map[string]any{"file_format_version": "1.0.0", "ICD": map[string]string{"library_path": library, "api_version": "1.3.0"}}
	b, err := json.Marshal(m)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "icd.json")
	require.NoError(t, os.WriteFile(path, b, 0o644))
	return path
}

// setDrivers lets the loader see these manifests only.
func setDrivers(t *testing.T, manifests ...string) {
	t.Setenv("VK_ICD_FILENAMES", strings.Join(manifests, ":"))
	t.Setenv("VK_DRIVER_FILES", strings.Join(manifests, ":"))
}

// drivers are the manifests that this run uses.
func drivers(t *testing.T) string {
	t.Helper()
	if s := os.Getenv("VK_DRIVER_FILES"); s != "" {
		return s
	}
	if s := os.Getenv("VK_ICD_FILENAMES"); s != "" {
		return s
	}
	found, err := filepath.Glob("/usr/share/vulkan/icd.d/*.json")
	require.NoError(t, err)
	return strings.Join(found, ":")
}

func TestNoDevice(t *testing.T) {
	setDrivers(t, writeICD(t, "/nowhere/libnothing.so"))
	_, err := vk.Open(nil)
	require.ErrorIs(t, err, vk.ErrNoDevice)
	assert.ErrorContains(t, err, "mesa-vulkan-drivers")
	assert.NotContains(t, err.Error(), "\n")
	_, err = vk.Devices(nil)
	assert.ErrorIs(t, err, vk.ErrNoDevice)
}

// Drivers that cannot be loaded, that are no driver and whose manifest is no JSON lie beside the good ones.
func TestBrokenDriverDoesNoHarm(t *testing.T) {
	noJSON := filepath.Join(t.TempDir(), "broken.json")
	require.NoError(t, os.WriteFile(noJSON, []byte("{"), 0o644))
	noDriver := filepath.Join(t.TempDir(), "libtext.so")
	require.NoError(t, os.WriteFile(noDriver, []byte("not a library"), 0o644))
	good := drivers(t)
	want, err := vk.Devices(nil)
	require.NoError(t, err)
	setDrivers(t, writeICD(t, "/nowhere/libnothing.so"), writeICD(t, noDriver), writeICD(t, "libm.so.6"), noJSON, good)
	got, err := vk.Devices(nil)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	d := open(t, nil)
	assert.NotEmpty(t, d.Info().Name)
}

func TestDevices(t *testing.T) {
	infos, err := vk.Devices(nil)
	require.NoError(t, err)
	chosen := 0
	for i, info := range infos {
		assert.Equal(t, i, info.Index)
		assert.NotEmpty(t, info.Name)
		assert.NotEmpty(t, info.Vendor)
		assert.NotEmpty(t, info.Driver)
		assert.NotEmpty(t, info.DriverVersion)
		assert.Len(t, info.UUID, 36)
		assert.Contains(t, []string{"discrete", "integrated", "virtual", "cpu", "other"}, info.Type)
		assert.Positive(t, info.MemoryBytes)
		assert.LessOrEqual(t, info.SubgroupMin, info.SubgroupMax)
		assert.NotNil(t, info.CoopMat)
		if info.Chosen {
			chosen++
			assert.Empty(t, info.Refused)
			d := open(t, nil)
			assert.Equal(t, info, d.Info())
			assert.Equal(t, info.Type == "cpu", d.IsCPU())
		}
	}
	assert.Equal(t, 1, chosen)
}

func TestDeviceByIndexNameAndUUID(t *testing.T) {
	t.Setenv("VKEFFNET_DEVICE", "no such device")
	infos, err := vk.Devices(nil)
	require.NoError(t, err, "a wish that nothing matches does not spoil the list")
	info := infos[0]
	assert.False(t, info.Chosen)
	for _, want := range []string{"0", strings.ToUpper(info.Name[1:5]), info.UUID} {
		d := open(t, &vk.Options{Device: want})
		info.Chosen = true
		assert.Equal(t, info, d.Info(), want)
	}
	for _, want := range []string{"99", "-1", "", "Voodoo"} {
		_, err := vk.Open(&vk.Options{Device: want})
		require.ErrorIs(t, err, vk.ErrNoDevice)
		assert.ErrorContains(t, err, info.Name, "the error lists what there is")
	}
}

func TestLowerAndDisable(t *testing.T) {
	own := open(t, nil)
	low := vk.Limits{Invocations: 128, SharedBytes: 16 << 10, OffsetAlign: 256, PushBytes: 64, MaxRange: 1 << 20, Heap: 256 << 20, MaxAllocation: 128 << 20}
	d := open(t, &vk.Options{Lower: &low, Disable: append([]string{"subgroup", "VK_KHR_16bit_storage"}, own.Features()...)})
	got := d.Limits()
	assert.EqualValues(t, 128, got.Invocations)
	assert.EqualValues(t, 16<<10, got.SharedBytes)
	assert.EqualValues(t, 256, got.OffsetAlign)
	assert.EqualValues(t, 64, got.PushBytes)
	assert.EqualValues(t, 1<<20, got.MaxRange)
	assert.EqualValues(t, 256<<20, got.Heap)
	assert.EqualValues(t, 128<<20, got.MaxAllocation)
	assert.Equal(t, own.Limits().MaxGroups, got.MaxGroups)
	assert.Zero(t, got.SubgroupMin)
	assert.Zero(t, got.SubgroupMax)
	assert.Empty(t, d.Features())
	assert.False(t, d.Info().F16)
	assert.Empty(t, d.Info().CoopMat)

	raised := open(t, &vk.Options{Lower: &vk.Limits{Invocations: 1 << 30, MaxRange: 1 << 62, OffsetAlign: 1}})
	assert.Equal(t, own.Limits(), raised.Limits(), "no limit is raised")
}

// What a device made is gone after Close, also what nobody released; goroutines too.
func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	d, err := vk.Open(&vk.Options{CacheDir: t.TempDir(), Disable: []string{"unifiedMemory"}})
	require.NoError(t, err)
	x, y := newBuffer(t, d, "x", 4096), newBuffer(t, d, "y", 4096)
	rec := d.NewRecorder("left open")
	record(rec, x, y)
	p, err := rec.Build(context.Background(), &vk.BuildOptions{Timestamps: true})
	require.NoError(t, err)
	require.NoError(t, p.Run(context.Background()))
	downloadFloats(t, x.Range())
	_, err = p.Submit()
	require.NoError(t, err)
	assert.NotEmpty(t, vk.Left(d))
	require.NoError(t, d.Close(), "with a submission under way")
	assert.Empty(t, vk.Left(d))
	assert.NoError(t, d.Close())

	_, err = p.Submit()
	assert.Error(t, err)
	_, err = d.NewBuffer("late", 4, vk.DeviceMemory)
	assert.Error(t, err)
	_, err = rec.Build(context.Background(), nil)
	assert.Error(t, err)
	assert.Error(t, d.Upload(x.Range(), make([]byte, 4096)))
	p.Release()
	x.Release()
	for deadline := time.Now().Add(time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	assert.LessOrEqual(t, runtime.NumGoroutine(), before)

	var none *vk.Device
	assert.NoError(t, none.Close())
}
