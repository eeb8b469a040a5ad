package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// work is one thing to time, in each of our precisions. The kernels suite is of the training step of a model.
type work struct {
	suite, model string
	size, batch  int
	precisions   string // separated by blanks
}

// workFor is what to time: models and batches of a GPU, or small ones where only a CPU driver is there.
func workFor(devices []map[string]any) []work {
	for _, d := range devices {
		if chosen, _ := d["chosen"].(bool); chosen && d["type"] == "cpu" {
			return []work{{"infer", "b0", 224, 1, "f32"}, {"train", "b0", 64, 8, "f32 f16"}, {"kernels", "b0", 64, 8, "f32"}}
		}
	}
	// What is asked for most comes first: the time may run out.
	return []work{
		{"train", "s", 300, 128, "f16 bf16 f32"}, {"train", "b0", 192, 256, "f16 f32"}, {"infer", "b0", 224, 1, "f32 f16"},
		{"infer", "s", 384, 32, "f16 f32"}, {"kernels", "s", 300, 128, "f16"},
		{"train", "b0", 64, 8, "f32 f16"}, {"train", "b0", 192, 64, "f16 f32"}, {"train", "s", 300, 32, "f16"},
		{"infer", "b0", 224, 64, "f16 f32"}, {"infer", "s", 384, 1, "f16 f32"}, {"kernels", "b0", 192, 256, "f16 f32"},
	}
}

func (w work) String() string {
	return fmt.Sprintf("%s %s %d x %d", w.suite, w.model, w.batch, w.size)
}

func (w work) args() []string {
	return []string{"--model", w.model, "--size", strconv.Itoa(w.size), "--batch", strconv.Itoa(w.batch)}
}

// bench times this program in each precision.
func (b *bundle) bench(ctx context.Context, w work) []benchRun {
	var runs []benchRun
	for _, precision := range strings.Fields(w.precisions) {
		runs = append(runs, b.benchIn(ctx, w, precision))
	}
	return runs
}

func (b *bundle) benchIn(ctx context.Context, w work, precision string) benchRun {
	args := append([]string{"bench", "--suite", w.suite, "--json", "--precision", precision}, w.args()...)
	run := benchRun{Command: "vkeffnet " + strings.Join(args, " ")}
	out, err := b.command(ctx, "bench "+w.String()+" "+precision, 5*time.Minute, "", b.vkeffnet(), args...)
	for _, o := range jsonLines(out) {
		results, _ := o["results"].([]any)
		for _, x := range results {
			if result, ok := x.(map[string]any); ok {
				run.Results = append(run.Results, result)
			}
		}
	}
	if err != nil {
		run.Error = err.Error()
	} else if len(run.Results) == 0 {
		run.Error = "no results"
	}
	return run
}

// peer times PyTorch on the same work: eager in each precision, and compiled.
func (b *bundle) peer(ctx context.Context, w work) []benchRun {
	if w.suite == "kernels" {
		return nil
	}
	var runs []benchRun
	for _, how := range [][]string{{"--precision", "f32"}, {"--precision", "tf32"}, {"--precision", "amp"},
		{"--precision", "f32", "--compile"}, {"--precision", "amp", "--compile"}} {
		args := append(append([]string{filepath.Join(b.dir, "torch_peer.py"), "--mode", w.suite}, w.args()...), how...)
		run := benchRun{Command: "python3 torch_peer.py " + strings.Join(args[1:], " ")}
		out, err := b.command(ctx, "peer "+w.String()+" "+strings.Join(how, " "), 5*time.Minute, "", "python3", args...)
		run.Results = jsonLines(out)
		if err != nil {
			run.Error = err.Error()
		}
		runs = append(runs, run)
	}
	return runs
}

// number reads a JSON number.
func number(o map[string]any, key string) float64 {
	x, _ := o[key].(float64)
	return x
}

// workKey says which work a result is of, so that ours and the peer's meet.
func workKey(o map[string]any) string {
	return work{fmt.Sprint(o["suite"]), strings.ToLower(fmt.Sprint(o["model"])), int(number(o, "size")), int(number(o, "batch")), ""}.String()
}
