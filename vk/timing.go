package vk

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"time"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"

	"github.com/seed-8d806880/vkeffnet/vk/internal/raw"
)

// Times returns the device time of every call, in the order of Recorder.Calls, in the last replay that has
// ended. The program must have been built with Timestamps.
func (p *Program) Times() ([]time.Duration, error) {
	spans, err := p.Spans(nil)
	if spans == nil || err != nil {
		return nil, err
	}
	out := make([]time.Duration, len(spans))
	for i, s := range spans {
		out[i] = s.End - s.Begin
	}
	return out, nil
}

// Span is when a call ran.
type Span struct{ Begin, End time.Duration }

// Spans returns when every call began and ended, in the order of Recorder.Calls, in the last replay that has ended: since
// the reading of the device's clock, or negative before it, and with nil since the begin of the first call. A call may
// seem to begin before the end of the one before it, by what the device needs to finish that. The program must have
// been built with Timestamps.
func (p *Program) Spans(since *Clock) ([]Span, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.readStamps(); err != nil || len(p.stamps) == 0 {
		return nil, err
	}
	first := p.stamps[0]
	if since != nil {
		first = since.ticks
	}
	out := make([]Span, len(p.ops))
	for i := range out {
		out[i].Begin = p.d.elapsed(first, p.stamps[2*i])
		out[i].End = out[i].Begin + p.d.elapsed(p.stamps[2*i], p.stamps[2*i+1])
	}
	return out, nil
}

// readStamps gets the timestamps of the last replay, when it has ended; p is locked.
func (p *Program) readStamps() error {
	switch {
	case p.released:
		return errReleased
	case !p.stamped:
		return fmt.Errorf("vk: program %s was built without timestamps", p.name)
	case len(p.ops) == 0:
		return nil
	}
	if err := p.finish(context.Background(), &p.slots[0]); err != nil {
		return err
	}
	if !p.ran {
		return fmt.Errorf("vk: program %s has not run yet", p.name)
	}
	d := p.d
	p.stamps = slices.Grow(p.stamps[:0], 2*len(p.ops))[:2*len(p.ops)]
	return d.do("vkGetQueryPoolResults", func() vulkan.Result {
		return vulkan.GetQueryPoolResults(d.handle, p.queries, 0, uint32(len(p.stamps)), uint(8*len(p.stamps)), unsafe.Pointer(&p.stamps[0]), 8,
			vulkan.QueryResultFlags(vulkan.QueryResult64Bit|vulkan.QueryResultWaitBit))
	})
}

// elapsed is the time between two timestamps; it is negative if b is earlier, by less than half of the clock's range.
func (d *Device) elapsed(a, b uint64) time.Duration {
	unused := bits.LeadingZeros64(d.physical.timestampMask)
	ticks := int64((b-a)<<unused) >> unused // the sign is in the highest bit that the clock has
	return time.Duration(float64(ticks) * d.physical.timestampNS)
}

// Clock is a moment by the clock that a device's timestamps are taken from, and by the host's.
type Clock struct {
	Host   time.Time
	Within time.Duration // Host is right to so much in either direction
	ticks  uint64
}

// clockReadings is how often Clock reads to find a moment in which nothing came between.
const clockReadings = 8

// Clock reads the device's clock. The clocks of host and device may drift apart by some millionths: read it near to what
// it is needed for. The error is an *UnsupportedError where the driver has no VK_EXT_calibrated_timestamps or the
// queue no timestamps.
func (d *Device) Clock() (*Clock, error) {
	if !d.Has(clockExtension) || d.physical.timestampMask == 0 {
		return nil, &UnsupportedError{"Device.Clock", clockExtension}
	}
	var there bool
	err := d.do("vkGetPhysicalDeviceCalibrateableTimeDomainsEXT", func() (r vulkan.Result) {
		there, r = raw.HasClock(d.instance.handle, d.physical.handle)
		return
	})
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, &UnsupportedError{"Device.Clock", "the device's own clock in " + clockExtension}
	}
	var best *Clock
	for range clockReadings {
		var ticks uint64
		before := time.Now()
		err := d.do("vkGetCalibratedTimestampsEXT", func() (r vulkan.Result) { ticks, r = raw.Clock(d.instance.handle, d.handle); return })
		half := time.Since(before) / 2
		if err != nil {
			return nil, err
		}
		if best == nil || half < best.Within {
			best = &Clock{Host: before.Add(half), Within: half, ticks: ticks}
		}
	}
	return best, nil
}
