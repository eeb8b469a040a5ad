package vk

import (
	"context"
	"os"
	"testing"

	"github.com/seed-8d806880/vkeffnet/vk/internal/raw"
)

// TestMain runs a test of a machine without a loader in a process of its own: a loader stays loaded.
func TestMain(m *testing.M) {
	if lib := os.Getenv("VK_TEST_LIBRARY"); lib != "" {
		raw.Library = lib
	}
	os.Exit(m.Run())
}

// BuildWithoutBarriers builds a program whose hazards nothing prevents.
func BuildWithoutBarriers(r *Recorder) (*Program, error) {
	return r.Build(context.Background(), &BuildOptions{noBarriers: true})
}

// Results is how many results of Vulkan calls a device has seen since it was opened.
func Results(d *Device) int64 { return d.n.Load() }

// Left names the Vulkan objects and bytes that a device has not released.
func Left(d *Device) []string { return d.left() }

// Blocks is the number of allocations of device memory, Used their bytes.
func Blocks(d *Device) int64 { return d.live[objMemory].Load() }

// Used is the bytes of all allocations.
func Used(d *Device) int64 { return d.census.bytes.Load() }

// CachePath is the file of the pipeline cache.
func CachePath(d *Device) string { return d.pipelines.saver.disk.path }

// Groups is how many submissions a replay of a program makes; 0 before it is measured.
func Groups(p *Program) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.groups)
}

// Segments is how many command buffers a program has.
func Segments(p *Program) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.segments)
}

// Barriers tells before which calls a program has barriers, the first call's aside.
func Barriers(p *Program) []int {
	var out []int
	for i, o := range p.ops {
		if o.barrier {
			out = append(out, i)
		}
	}
	return out
}

// Pipelines is how many pipelines a device holds.
func Pipelines(d *Device) int {
	d.pipelines.mu.Lock()
	defer d.pipelines.mu.Unlock()
	return len(d.pipelines.all)
}

// Compile creates the pipelines of calls and waits until they are on disk, without a program that could run.
func Compile(d *Device, calls ...Call) error {
	var list []*Call
	for i := range calls {
		list = append(list, &calls[i])
	}
	_, err := d.pipelines.getAll(context.Background(), d, list, nil)
	d.pipelines.saveSoon(d)
	d.pipelines.saver.group.Wait()
	return err
}
