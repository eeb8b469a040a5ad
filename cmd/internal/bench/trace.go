package bench

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/workload"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// Trace collects what host and device did in steps, on one axis of time, for a file in the Trace Event Format, which
// Perfetto (https://ui.perfetto.dev) and Chrome's tracing read:
// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
type Trace struct {
	ceiling Ceiling
	about   map[string]any
	begin   time.Time // of the first step, where the axis begins
	steps   int
	events  []event
	within  time.Duration // the least exact reading of the device's clock
	aligned bool          // a step was aligned at its submission
}

// NewTrace returns an empty trace. about goes into the file's otherData.
func NewTrace(ceiling Ceiling, about map[string]any) *Trace {
	return &Trace{ceiling: ceiling, about: about}
}

// Processes and threads of a trace.
const (
	traceHost, traceDevice = 1, 2
	traceThread            = 1 // the only one of each
)

// event is one entry of traceEvents.
type event struct {
	Name  string  `json:"name"`
	Cat   string  `json:"cat,omitempty"`
	Phase string  `json:"ph"`
	At    micros  `json:"ts"`
	Long  *micros `json:"dur,omitempty"`
	PID   int     `json:"pid"`
	TID   int     `json:"tid"`
	ID    int     `json:"id,omitempty"`
	Bind  string  `json:"bp,omitempty"`
	Args  any     `json:"args,omitempty"`
}

// micros is a duration that is written in microseconds, to the nanosecond.
type micros time.Duration

func (m micros) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(m)/1e3, 'f', 3, 64), nil
}

// dispatchArgs say what a dispatch did.
type dispatchArgs struct {
	Kernel       string  `json:"kernel"`
	Section      string  `json:"section"`
	Read         int64   `json:"read_bytes"`
	Written      int64   `json:"written_bytes"`
	FLOPs        int64   `json:"flops"`
	GFLOPS       float64 `json:"gflops"`
	GBps         float64 `json:"gbps"`
	CeilingShare float64 `json:"ceiling_share"`
	Bound        Bound   `json:"bound"`
}

// frameArgs say what several dispatches did.
type frameArgs struct {
	Dispatches   int     `json:"dispatches"`
	DispatchMS   float64 `json:"dispatch_ms"` // sum of their times, without the gaps between them
	CeilingShare float64 `json:"ceiling_share"`
	Bound        Bound   `json:"bound"`
}

// step adds a step that has ended: its program was built with timestamps.
func (t *Trace) step(dev *vk.Device, p *vk.Program, mode string, m workload.Moments, calls []vk.CallInfo) error {
	clock, err := dev.Clock()
	if errors.As(err, new(*vk.UnsupportedError)) {
		clock, err = nil, nil
	}
	if err != nil {
		return err
	}
	spans, err := p.Spans(clock)
	if err != nil {
		return err
	}
	if clock != nil {
		t.within = max(t.within, clock.Within)
		t.add(mode, m, clock.Host, spans, calls)
	} else {
		t.aligned = true
		t.add(mode, m, m.Encoded, spans, calls) // the device cannot have begun before
	}
	return nil
}

// add adds a step's events; the device's spans count from zero.
func (t *Trace) add(mode string, m workload.Moments, zero time.Time, spans []vk.Span, calls []vk.CallInfo) {
	if t.steps++; t.steps == 1 {
		t.begin = m.Begin
	}
	name := fmt.Sprintf("%s step %d", mode, t.steps)
	at := func(x time.Time) time.Duration { return x.Sub(t.begin) }
	t.slice(traceHost, "host", name, at(m.Begin), at(m.Ended), nil)
	if m.Encoded.After(m.Begin) {
		t.slice(traceHost, "host", "encode step scalars", at(m.Begin), at(m.Encoded), nil)
	}
	t.slice(traceHost, "host", "submit", at(m.Encoded), at(m.Submitted), nil)
	t.slice(traceHost, "host", "wait", at(m.Submitted), at(m.Ended), nil)
	if len(spans) == 0 {
		return
	}
	// A timestamp may be taken a little before the dispatch in front has drained; slices of one thread must not overlap.
	last := at(zero) + spans[0].Begin
	t.events = append(t.events,
		event{Name: "submission", Cat: "flow", Phase: "s", At: micros(at(m.Encoded)), PID: traceHost, TID: traceThread, ID: t.steps},
		event{Name: "submission", Cat: "flow", Phase: "f", Bind: "e", At: micros(last), PID: traceDevice, TID: traceThread, ID: t.steps})
	step, section := t.open(name, last), (*frame)(nil)
	for i, s := range spans {
		call := calls[i]
		begin := max(at(zero)+s.Begin, last)
		end := max(at(zero)+s.End, begin)
		if section == nil || section.name != call.Section {
			t.close(section, last)
			section = t.open(call.Section, begin)
		}
		floor, bound := t.ceiling.floor(call)
		args := dispatchArgs{Kernel: call.Shader, Section: call.Section, Read: call.Read, Written: call.Written, FLOPs: call.FLOPs, Bound: bound}
		if ns := float64(s.End - s.Begin); ns > 0 {
			args.GFLOPS, args.GBps, args.CeilingShare = float64(call.FLOPs)/ns, float64(call.Read+call.Written)/ns, floor/ns
		}
		t.slice(traceDevice, call.Shader, call.Label, begin, end, args)
		for _, f := range []*frame{step, section} {
			f.dispatches++
			f.busy += s.End - s.Begin
			f.floors.add(floor, bound)
		}
		last = end
	}
	t.close(section, last)
	t.close(step, last)
}

// frame is a slice of the device around others, whose place in events was kept.
type frame struct {
	name       string
	begin      time.Duration
	at         int
	dispatches int
	busy       time.Duration
	floors     floors
}

func (t *Trace) open(name string, begin time.Duration) *frame {
	f := &frame{name: name, begin: begin, at: len(t.events), floors: floors{}}
	t.slice(traceDevice, "section", name, begin, begin, nil)
	return f
}

func (t *Trace) close(f *frame, end time.Duration) {
	if f == nil {
		return
	}
	args := frameArgs{Dispatches: f.dispatches, DispatchMS: millis(f.busy)}
	floor, bound := f.floors.total()
	if args.Bound = bound; f.busy > 0 {
		args.CeilingShare = floor / float64(f.busy)
	}
	long := micros(end - f.begin)
	t.events[f.at].Long, t.events[f.at].Args = &long, args
}

func (t *Trace) slice(pid int, cat, name string, begin, end time.Duration, args any) {
	long := micros(end - begin)
	t.events = append(t.events, event{Name: name, Cat: cat, Phase: "X", At: micros(begin), Long: &long, PID: pid, TID: traceThread, Args: args})
}

// Write writes the trace as one JSON object, an event a line, in the order of time.
func (t *Trace) Write(w io.Writer) error {
	about := map[string]any{"ceilings": t.ceiling}
	for k, v := range t.about {
		about[k] = v
	}
	if t.aligned {
		about["clocks"] = "aligned at submission: the device has no VK_EXT_calibrated_timestamps, so its first dispatch is drawn where the host begins to submit, the earliest that it can have begun"
	} else {
		about["clocks"] = fmt.Sprintf("calibrated by VK_EXT_calibrated_timestamps, to %.1f microseconds", float64(t.within)/1e3)
	}
	slices.SortStableFunc(t.events, func(a, b event) int { return cmp.Compare(a.At, b.At) })
	var events []event
	for _, track := range []struct {
		pid             int
		process, thread string
	}{{traceHost, "host", "steps"}, {traceDevice, "device", "dispatches"}} {
		events = append(events,
			event{Name: "process_name", Phase: "M", PID: track.pid, Args: map[string]any{"name": track.process}},
			event{Name: "process_sort_index", Phase: "M", PID: track.pid, Args: map[string]any{"sort_index": track.pid}},
			event{Name: "thread_name", Phase: "M", PID: track.pid, TID: traceThread, Args: map[string]any{"name": track.thread}})
	}
	events = append(events, t.events...)
	var out bytes.Buffer
	e := json.NewEncoder(&out) // ends every value with a new line
	e.SetEscapeHTML(false)
	out.WriteString(`{"displayTimeUnit":"ms","otherData":`)
	if err := e.Encode(about); err != nil {
		return err
	}
	out.WriteString(`,"traceEvents":[` + "\n")
	for i, x := range events {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := e.Encode(x); err != nil {
			return err
		}
	}
	out.WriteString("]}\n")
	_, err := out.WriteTo(w)
	return err
}
