package bench_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/bench"
	"github.com/seed-8d806880/vkeffnet/cmd/internal/workload"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// TestTrace has three dispatches of 2, 3 and 1 us; the second seems to begin 1 us before the first has ended.
func TestTrace(t *testing.T) {
	zero := time.Now()
	at := func(us int) time.Time { return zero.Add(time.Duration(us) * time.Microsecond) }
	span := func(begin, end time.Duration) vk.Span {
		return vk.Span{Begin: begin * time.Microsecond, End: end * time.Microsecond}
	}
	trace := bench.NewTrace(bench.Ceiling{GFLOPS: 1, GBps: 1}, map[string]any{"model": "nano"})
	trace.AddStep("train", workload.Moments{Begin: at(0), Encoded: at(10), Submitted: at(20), Ended: at(50)}, at(5),
		[]vk.Span{span(10, 12), span(11, 14), span(20, 21)}, []vk.CallInfo{
			{Label: "conv 3->8", Shader: "conv", Section: "forward", FLOPs: 1000, Read: 100, Written: 100},
			{Label: "pool", Shader: "pool", Section: "forward", Read: 1500},
			{Label: "sgd", Shader: "sgd", Section: "optimizer", FLOPs: 500},
		})
	var out bytes.Buffer
	require.NoError(t, trace.Write(&out))
	var file struct {
		DisplayTimeUnit string
		OtherData       map[string]any
		TraceEvents     []struct {
			Name, Ph string
			TS, Dur  float64
			PID      int
			Args     map[string]any
		}
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &file))
	assert.Equal(t, "nano", file.OtherData["model"])
	type row struct {
		name       string
		begin, end float64
	}
	var host, device []row
	args := map[string]map[string]any{}
	for _, e := range file.TraceEvents {
		if e.Ph != "X" {
			continue
		}
		r := row{e.Name, e.TS, e.TS + e.Dur}
		if e.PID == 1 {
			host = append(host, r)
		} else {
			device = append(device, r)
			args[e.Name] = e.Args
		}
	}
	assert.Equal(t, []row{{"train step 1", 0, 50}, {"encode step scalars", 0, 10}, {"submit", 10, 20}, {"wait", 20, 50}}, host)
	assert.Equal(t, []row{{"train step 1", 15, 26}, {"forward", 15, 19}, {"conv 3->8", 15, 17}, {"pool", 17, 19}, {"optimizer", 25, 26}, {"sgd", 25, 26}}, device,
		"what overlaps is drawn from the end of the one in front")
	assert.Equal(t, map[string]any{"kernel": "conv", "section": "forward", "read_bytes": 100.0, "written_bytes": 100.0, "flops": 1000.0,
		"gflops": 0.5, "gbps": 0.1, "ceiling_share": 0.5, "bound": "arithmetic"}, args["conv 3->8"])
	assert.Equal(t, map[string]any{"dispatches": 2.0, "dispatch_ms": 0.005, "ceiling_share": 0.5, "bound": "bandwidth"}, args["forward"])
}
