package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/bench"
	"github.com/seed-8d806880/vkeffnet/cmd/internal/table"
	"github.com/seed-8d806880/vkeffnet/cmd/internal/workload"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// startVariable tells a command of the suite start that it is the one to be timed, and when it was started, in nanoseconds
// since 1970.
const startVariable = "VKEFFNET_BENCH_STARTED"

// startJSON is what bench --suite start --json prints, and what the command that is timed tells the one that times it.
type startJSON struct {
	Device  deviceJSON     `json:"device"`
	Results []bench.Result `json:"results"`
}

// start runs this command twice more, in processes of their own: with caches that are empty, and with those that the first
// one left.
func (r *benchRun) start(ctx context.Context) error {
	if nanos, err := strconv.ParseInt(os.Getenv(startVariable), 10, 64); err == nil {
		return r.startTimed(ctx, time.Unix(0, nanos))
	}
	dir, err := os.MkdirTemp("", "vkeffnet-start-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var all startJSON
	for _, name := range []string{"cold", "warm"} {
		one, err := r.startOnce(ctx, dir)
		if err != nil {
			return fmt.Errorf("%s start: %w", name, err)
		}
		one.Results[0].Name = name
		all.Device, all.Results = one.Device, append(all.Results, one.Results...)
	}
	if r.asJSON {
		return r.printJSON(all)
	}
	c := r.config
	fmt.Fprintf(r.stdout, "%s, %s; %s, %s, batch %d of %dx%d\n", all.Device.Name, all.Device.Driver, c.Elem, c.Variant.LongName, c.Batch, c.Size, c.Size)
	return printStart(r.stdout, all.Results)
}

// startOnce runs this command with its caches, those of drivers too, in dir.
func (r *benchRun) startOnce(ctx context.Context, dir string) (*startJSON, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	// Mesa's and NVIDIA's drivers have caches of their own.
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+dir, "MESA_SHADER_CACHE_DIR="+filepath.Join(dir, "mesa"),
		"__GL_SHADER_DISK_CACHE_PATH="+dir, fmt.Sprintf("%s=%d", startVariable, time.Now().UnixNano()))
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(log.Bytes()))
	}
	if _, err := log.WriteTo(r.stderr); err != nil {
		return nil, err
	}
	var one startJSON
	if err := json.Unmarshal(out.Bytes(), &one); err != nil || len(one.Results) != 1 || one.Results[0].Startup == nil {
		return nil, fmt.Errorf("%s %v said %q, want one result: %w", program, os.Args[1:], out.Bytes(), err)
	}
	one.Results[0].CPUMS = float64(cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()) / float64(time.Millisecond)
	return &one, nil
}

// startTimed is what the commands do that are timed.
func (r *benchRun) startTimed(ctx context.Context, begin time.Time) error {
	open := func(c *workload.Config) (dev *vk.Device, err error) {
		if dev, err = r.open(); err != nil {
			return nil, err
		}
		c.Tuner, err = r.openTuner(dev, r.asJSON)
		return dev, err
	}
	r.config.Mode = layers.Train
	result, info, err := bench.Start(ctx, begin, open, r.config, r.o)
	if err != nil {
		return err
	}
	return r.printJSON(startJSON{newDeviceJSON(info), []bench.Result{result}})
}

// printStart prints the parts of each start in the order in which they come.
func printStart(w io.Writer, results []bench.Result) error {
	fmt.Fprintln(w, "\nfrom the command to the end of the first training step, in ms; cold: with empty caches, warm: started again")
	header := []string{"PART"}
	for _, r := range results {
		header = append(header, ">"+r.Name)
	}
	t := table.New(header...)
	row := func(name string, value func(bench.Result) string) {
		cells := []string{name}
		for _, r := range results {
			cells = append(cells, value(r))
		}
		t.Add(cells...)
	}
	for _, part := range []struct {
		name  string
		value func(bench.Result) float64
	}{
		{"process", func(r bench.Result) float64 { return r.ProcessMS }},
		{"device", func(r bench.Result) float64 { return r.DeviceMS }},
		{"tuning", func(r bench.Result) float64 { return r.TuneMS }},
		{"plan", func(r bench.Result) float64 { return r.PlanMS }},
		{"weights", func(r bench.Result) float64 { return r.WeightsMS }},
		{"pipelines", func(r bench.Result) float64 { return r.PipelinesMS }},
		{"memory, commands, batch", func(r bench.Result) float64 { return r.BuildMS }},
		{"first step", func(r bench.Result) float64 { return r.StepMS }},
		{"all", func(r bench.Result) float64 { return r.FirstStepMS }},
	} {
		row(part.name, func(r bench.Result) string { return benchMillis(part.value(r)) })
	}
	row("second step", func(r bench.Result) string { return benchMillis(r.SecondMS) })
	row("pipelines, all threads", func(r bench.Result) string { return benchMillis(r.PipelinesWork) })
	row("CPU time of all", func(r bench.Result) string { return benchMillis(r.CPUMS) })
	row("pipelines created", func(r bench.Result) string { return strconv.Itoa(r.Pipelines) })
	row("threads", func(r bench.Result) string { return strconv.Itoa(r.Threads) })
	return t.Write(w)
}
