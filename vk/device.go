package vk

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	vulkan "github.com/vulkan-go/vulkan"

	"github.com/seed-8d806880/vkeffnet/vk/internal/raw"
)

// Device is an open Vulkan device. All its methods are safe for concurrent use: one goroutine may build a
// program while another runs one. Submissions of all programs run in the order of their Submit calls.
type Device struct {
	*instance
	physical *physical
	limits   Limits
	log      *slog.Logger
	handle   vulkan.Device
	unified  bool // device memory is mapped

	queue struct {
		sync.Mutex // of vkQueueSubmit
		handle     vulkan.Queue
	}
	memory    memory
	pipelines pipelines
	staging   staging
	flight    flight
	dummy     struct {
		sync.Mutex
		buffer *Buffer
	}
	zeros struct {
		sync.Mutex
		buffer *Buffer
	}

	once struct {
		sync.Mutex
		done map[string]func() error
	}

	mu       sync.Mutex
	closed   bool
	buffers  map[*Buffer]struct{}
	programs map[*Program]struct{}
}

// Open opens the device that o asks for, or else the best one that can be opened; nil takes the defaults.
// The caller closes it. The error unwraps to ErrNoLoader or ErrNoDevice where that is the reason.
func Open(o *Options) (*Device, error) {
	o = o.orDefault()
	in, err := openInstance(o)
	if err != nil {
		return nil, err
	}
	d, err := in.openBest(o)
	if err != nil {
		return nil, errors.Join(err, in.close())
	}
	return d, nil
}

// openBest tries the devices in order of preference: a driver that lists a device it cannot open stands in
// nobody's way.
func (in *instance) openBest(o *Options) (*Device, error) {
	found, err := in.probeAll(o)
	if err != nil {
		return nil, err
	}
	order, err := choose(found, o.Device)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, p := range order {
		d, err := in.open(p, o)
		if err == nil {
			d.info().Chosen = true
			return d, nil
		}
		o.Log.Warn("device cannot be opened", "device", p.info.Name, "error", err)
		failed = append(failed, fmt.Errorf("vk: open %s: %w", p.info.Name, err))
	}
	return nil, errors.Join(failed...)
}

func (in *instance) open(p *physical, o *Options) (*Device, error) {
	d := &Device{flight: flight{slots: map[*slot]*Program{}}, instance: in, physical: p, limits: p.limits, log: o.Log,
		buffers: map[*Buffer]struct{}{}, programs: map[*Program]struct{}{}}
	d.unified = (p.info.Type == "integrated" || p.info.Type == "cpu") && !slices.Contains(o.Disable, "unifiedMemory")
	d.memory.init(p, o.Lower)
	err := d.do("vkCreateDevice", func() (r vulkan.Result) {
		d.handle, r = raw.CreateDevice(p.handle, p.family, p.features.extensions, p.features.types, p.features.flags, p.features.core)
		return
	})
	if d.handle != nil {
		d.add(objDevice)
	}
	if err == nil {
		var queue vulkan.Queue // of its own: cgo refuses an address within a structure that holds Go pointers
		vulkan.GetDeviceQueue(d.handle, p.family, 0, &queue)
		d.queue.handle = queue
		err = d.pipelines.init(d, o.CacheDir)
	}
	if err != nil {
		return nil, errors.Join(err, d.destroy())
	}
	d.log.Info("device opened", "device", p.info.Name, "driver", p.info.Driver, "version", p.info.DriverVersion, "unified", d.unified)
	return d, nil
}

func (d *Device) info() *Info { return &d.physical.info }

// Info describes the device, after lowering and hiding.
func (d *Device) Info() Info {
	i := *d.info()
	i.CoopMat, i.CoopMatFlexible = slices.Clone(i.CoopMat), slices.Clone(i.CoopMatFlexible)
	return i
}

// Limits are the limits to respect, after lowering.
func (d *Device) Limits() Limits { return d.limits }

// Has reports whether the device has a feature or extension that is not hidden: a member of a Vulkan feature
// structure such as "shaderFloat16", an extension such as "VK_KHR_cooperative_matrix", "subgroup" for basic
// subgroup operations in compute shaders, or one kind of them such as "subgroupArithmetic".
func (d *Device) Has(feature string) bool { return d.physical.features.has(feature) }

// Features lists all that Has reports.
func (d *Device) Features() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(d.physical.features.names)) {
		if d.Has(name) {
			out = append(out, name)
		}
	}
	return out
}

// Log is Options.Log, never nil.
func (d *Device) Log() *slog.Logger { return d.log }

// Once runs f, unless it was run under this name before, and returns what f returned then. It is for what is found out
// about a device by trying: f may use d, Once included, but not under the same name.
func (d *Device) Once(name string, f func() error) error {
	d.once.Lock()
	if d.once.done == nil {
		d.once.done = map[string]func() error{}
	}
	run := d.once.done[name]
	if run == nil {
		run = sync.OnceValue(f)
		d.once.done[name] = run
	}
	d.once.Unlock()
	return run()
}

// IsCPU reports whether the device is a CPU driver, such as lavapipe.
func (d *Device) IsCPU() bool { return d.info().Type == "cpu" }

// Err returns validation messages that no call has returned yet, or nil.
func (d *Device) Err() error { return d.said("vk.Device") }

// Close releases the device and everything that was created on it, programs that still run after they have
// ended. Its error is that of a Vulkan call, or validation messages not yet returned. It is nil-safe and
// idempotent.
func (d *Device) Close() error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	programs := slices.Collect(maps.Keys(d.programs))
	buffers := slices.Collect(maps.Keys(d.buffers))
	d.mu.Unlock()
	for _, p := range programs {
		p.Release()
	}
	err := d.pipelines.saver.wait()
	d.staging.release(d)
	for _, b := range buffers {
		b.Release()
	}
	err = errors.Join(err, d.destroy(), d.close())
	if left := d.left(); len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("vk: internal error: left after Close: %s", strings.Join(left, ", ")))
	}
	return err
}

// destroy releases what open made.
func (d *Device) destroy() error {
	d.pipelines.release(d)
	if d.handle != nil {
		vulkan.DestroyDevice(d.handle, nil)
		d.remove(objDevice)
		d.handle = nil
	}
	return d.said("vkDestroyDevice")
}

// errClosed is what a closed device answers.
var errClosed = errors.New("vk: the device is closed")
