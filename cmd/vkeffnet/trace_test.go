package main

import (
	"encoding/json"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// traceFile is what check-trace reads of a file in the Trace Event Format.
type traceFile struct {
	OtherData   map[string]any `json:"otherData"`
	TraceEvents []struct {
		Name     string
		Cat      string
		Ph       string
		TS, Dur  *json.Number
		PID, TID int
		Args     map[string]any
	} `json:"traceEvents"`
}

// checkTrace is the script command "check-trace FILE STEPS": events are in the order of time, complete events have a
// duration and nest within their thread, each of the steps is there on the host and on the device, and where the clocks are
// calibrated the device's lies within the host's.
func checkTrace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: check-trace FILE STEPS")
	}
	steps, err := strconv.Atoi(args[1])
	ts.Check(err)
	var f traceFile
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &f))
	type span struct {
		name       string
		begin, end int64
	}
	nanos := func(n *json.Number) int64 {
		if n == nil {
			ts.Fatalf("an event without ts or dur")
		}
		x, err := n.Float64()
		ts.Check(err)
		return int64(x*1000 + 0.5)
	}
	open := map[[2]int][]span{} // of each thread, outermost first
	found := map[int][]span{}   // steps by process
	last, dispatches := int64(0), 0
	for i, e := range f.TraceEvents {
		if e.Ph == "M" {
			continue
		}
		begin := nanos(e.TS)
		if begin < last {
			ts.Fatalf("event %d, %s, begins at %d ns, before the one in front at %d", i, e.Name, begin, last)
		}
		last = begin
		if e.Ph != "X" {
			continue
		}
		x := span{e.Name, begin, begin + nanos(e.Dur)}
		if x.end < x.begin {
			ts.Fatalf("event %d, %s: negative duration", i, e.Name)
		}
		thread := [2]int{e.PID, e.TID}
		stack := open[thread]
		for len(stack) > 0 && stack[len(stack)-1].end <= x.begin && stack[len(stack)-1].end < x.end {
			stack = stack[:len(stack)-1]
		}
		if n := len(stack); n > 0 && x.end > stack[n-1].end {
			ts.Fatalf("event %d, %s, ends at %d ns, after %s around it at %d", i, e.Name, x.end, stack[n-1].name, stack[n-1].end)
		}
		if len(stack) == 0 {
			found[e.PID] = append(found[e.PID], x)
		}
		open[thread] = append(stack, x)
		if e.Args["kernel"] != nil {
			dispatches++
			if e.Args["flops"] == nil || e.Args["read_bytes"] == nil || e.Args["ceiling_share"] == nil || e.Args["bound"] == "" {
				ts.Fatalf("event %d, %s, says %v", i, e.Name, e.Args)
			}
		}
	}
	host, device := found[1], found[2]
	if len(host) != steps || len(device) != steps || dispatches < 10*steps {
		ts.Fatalf("%d steps on the host, %d on the device with %d dispatches, want %d of each", len(host), len(device), dispatches, steps)
	}
	const slack = 1_000_000 // ns
	for i, h := range host {
		if d := device[i]; d.name != h.name || d.begin < h.begin-slack || d.end > h.end+slack {
			ts.Fatalf("%s on the host from %d to %d ns, %s on the device from %d to %d", h.name, h.begin, h.end, d.name, d.begin, d.end)
		}
	}
	ts.Logf("%d dispatches, clocks %v", dispatches, f.OtherData["clocks"])
}
