package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/bench"
	"github.com/seed-8d806880/vkeffnet/cmd/internal/workload"
	"github.com/seed-8d806880/vkeffnet/layers"
)

// benchRun is what bench was asked to do.
type benchRun struct {
	*app
	suites []string
	config workload.Config // of the training step; Mode and Size vary
	sizes  map[layers.Mode]int
	o      bench.Options
	sweeps bench.Sweeps
	plot   string // file without its ending, or empty
	trace  string // file, or empty
	all    bool   // list every distinct dispatch
	asJSON bool
}

func newBench(a *app) *cobra.Command {
	var suite, model, precision, padding, optimizer string
	var size, batch, classes int
	r := benchRun{app: a, o: bench.Options{Warmup: 2, Repeats: 10}}
	var models []string
	o := &r.o
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "time steps and kernels on synthetic data, beside the device's ceilings",
		Long: `bench times the device on synthetic data after a warm-up.

The suites infer and train time whole steps as the host sees them; kernels times every distinct
dispatch of both by the device's timestamps and draws where the time goes by section, kernel and
shape: bars below each other share one axis of time, and what takes less than 1% is put together.
With --all every distinct dispatch is listed as well. Without --suite these three run; without
--size images have the model's own training and evaluation sizes.

The suite scaling times steps of both modes while batch, image size and model grow, one at a time
around --batch, --size (128 by default) and --model, with the memory planned. The table has the
fastest of the timed steps. GROWTH is the exponent with which the time grows with the FLOPs since
the row above: 1 where it is in proportion, near 0 where fixed costs rule. OPTIM is the optimizer's
share of the device's time, GAPS what of the step no dispatch runs in. On a CPU driver CPU MS is the
time of all processors in place of it, which other work on the machine disturbs less; GROWTH and
the plot are then of that. Points are measured from the smallest on; those that would exceed
--budget by the rate so far, or the device's memory, are shown as skipped. --plot draws it.

GFLOP/s and GB/s count what the mathematics needs and the bytes of the ranges that are read and
written. The ceilings are measured in the same run: bandwidth by a copy, arithmetic by
multiply-adds in registers, matrix by products of cooperative matrices, where the device has them.
OF CEILING is the time that the ceiling which binds a dispatch allows over the time that it took,
and names that ceiling; of several dispatches it is the sum of what each is allowed. A share above
100% means that data stayed in a cache.

The suite start runs this command anew, with empty caches and again, and says where the time to
the end of the first training step goes.

--trace writes the timed steps of the suite kernels for https://ui.perfetto.dev: every dispatch by
section with its bytes, FLOPs and share, and what the host did, on one axis of time.`,
		Example: `  vkeffnet bench --model b0 --batch 8 --size 64
  vkeffnet bench --suite kernels --model s --batch 32 --all
  vkeffnet bench --suite kernels --model b0 --batch 8 --size 128 --trace step.json
  vkeffnet bench --suite scaling --model b0 --batch 8 --size 128 --budget 10m --plot scaling
  vkeffnet bench --suite start --model s --batch 2 --size 64
  vkeffnet bench --suite infer --model b0 --batch 1 --size 224 --json`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&suite, "suite", "", "infer, train, kernels, scaling or start; default: the first three")
	modelFlag(f, &model, "b0")
	f.IntVar(&size, "size", 0, "side of the images in pixels; 0: the model's own sizes")
	f.IntVar(&batch, "batch", 8, "images of a step")
	f.IntVar(&classes, "classes", imageNetClasses, "classes of the head")
	precisionFlag(f, &precision)
	f.StringVar(&padding, "padding", "torch", "torch or same")
	f.StringVar(&optimizer, "optimizer", "rmsprop", "rmsprop or sgd")
	f.IntVar(&o.Warmup, "warmup", o.Warmup, "steps before those that are timed")
	f.IntVar(&o.Repeats, "repeats", o.Repeats, "timed steps")
	f.Uint64Var(&o.Seed, "seed", 0, "of weights and data")
	f.BoolVar(&r.all, "all", false, "suite kernels: list every distinct dispatch")
	f.IntSliceVar(&r.sweeps.Batches, "batches", []int{1, 2, 4, 8, 16, 32, 64}, "suite scaling: batches")
	f.IntSliceVar(&r.sweeps.Sizes, "sizes", []int{64, 96, 128, 160, 192, 224, 256, 320, 384}, "suite scaling: sizes of the images")
	f.StringSliceVar(&models, "models", []string{"nano", "b0", "b1", "s"}, "suite scaling: models")
	f.DurationVar(&r.sweeps.Budget, "budget", 2*time.Minute, "suite scaling: `time` for all of it; 0: no end")
	f.StringVar(&r.plot, "plot", "", "suite scaling: `name` of a plot, NAME.png and NAME.svg")
	f.StringVar(&r.trace, "trace", "", "suite kernels: `file` for a trace of the timed steps, for Perfetto or Chrome")
	f.BoolVar(&r.asJSON, "json", false, "print one JSON object")
	cmd.RunE = do(func(ctx context.Context, _ []string) error {
		r.suites = []string{"infer", "train", "kernels"}
		switch suite {
		case "infer", "train", "kernels", "scaling", "start":
			r.suites = []string{suite}
		case "":
		default:
			return usagef("--suite: got %q, want infer, train, kernels, scaling or start", suite)
		}
		if r.trace != "" && !slices.Contains(r.suites, "kernels") {
			return usagef("--trace: got --suite %s, want kernels, whose steps have timestamps", suite)
		}
		for _, name := range []string{"batches", "sizes", "models", "budget", "plot"} {
			if f.Changed(name) && suite != "scaling" {
				return usagef("--%s: goes with --suite scaling", name)
			}
		}
		if o.Repeats < 1 || o.Warmup < 0 {
			return usagef("--repeats and --warmup: got %d and %d, want at least 1 and 0", o.Repeats, o.Warmup)
		}
		c, err := a.workload(model, precision, padding, optimizer)
		if err != nil {
			return err
		}
		c.Batch, c.Classes = batch, classes
		r.sizes = map[layers.Mode]int{layers.Train: c.Variant.TrainSize, layers.Infer: c.Variant.EvalSize}
		if suite == "scaling" {
			if size == 0 {
				size = scalingSize
			}
			if err := r.setSweeps(models); err != nil {
				return err
			}
		}
		if size != 0 {
			r.sizes[layers.Train], r.sizes[layers.Infer] = size, size
		}
		c.Size = r.sizes[layers.Train]
		r.config = c
		if err := checkSizes(c); err != nil {
			return err
		}
		if suite == "start" {
			return r.start(ctx)
		}
		return r.run(ctx)
	})
	return cmd
}

func (r *benchRun) run(ctx context.Context) (err error) {
	var file *os.File
	if r.trace != "" { // before the work, which may take minutes
		if file, err = os.Create(r.trace); err != nil {
			return fmt.Errorf("the trace: %w", err)
		}
		defer func() {
			if err = errors.Join(err, file.Close()); err != nil {
				os.Remove(r.trace)
			}
		}()
	}
	if r.plot != "" {
		if _, err := os.Stat(filepath.Dir(r.plot)); err != nil {
			return fmt.Errorf("the plot: %w", err)
		}
	}
	r.o.Progress = r.compiling(r.asJSON).Progress()
	dev, err := r.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	if r.config.Tuner, err = r.openTuner(dev, r.asJSON); err != nil {
		return err
	}
	ceiling, err := bench.MeasureCeiling(ctx, dev)
	if err != nil {
		return err
	}
	info, c := dev.Info(), r.config
	var trace *bench.Trace
	if file != nil {
		trace = bench.NewTrace(ceiling, map[string]any{"device": info.Name, "driver": strings.TrimSpace(info.Driver + " " + info.DriverVersion),
			"model": c.Variant.LongName, "precision": c.Elem.String(), "batch": c.Batch})
	}
	var results []bench.Result
	for _, s := range r.suites {
		if s == "scaling" {
			c.Size, c.Tuner = r.sizes[layers.Train], nil // what grows should be the work, not the choice of variants
			if results, err = bench.Scaling(ctx, dev, c, r.sweeps, ceiling, r.o, func(line string) { fmt.Fprintln(r.stderr, line) }); err != nil {
				return err
			}
			continue
		}
		for _, mode := range suiteModes(s) {
			c.Mode, c.Size = mode, r.sizes[mode]
			if s == "kernels" {
				list, err := bench.Kernels(ctx, dev, c, ceiling, r.o, trace)
				if err != nil {
					return err
				}
				results = append(results, list...)
				continue
			}
			step, err := bench.Step(ctx, dev, c, ceiling, r.o)
			if err != nil {
				return err
			}
			results = append(results, step)
		}
	}
	if trace != nil {
		if err := trace.Write(file); err != nil {
			return fmt.Errorf("the trace: %w", err)
		}
	}
	if r.plot != "" {
		title := fmt.Sprintf("%s: around %s, batch %d of %dx%d, %s", info.Name, c.Variant.Name, c.Batch, c.Size, c.Size, c.Elem)
		if err := bench.PlotScaling(r.plot, title, results); err != nil {
			return err
		}
	}
	if r.asJSON {
		return r.printJSON(struct {
			Device  deviceJSON     `json:"device"`
			Ceiling bench.Ceiling  `json:"ceiling"`
			Results []bench.Result `json:"results"`
		}{newDeviceJSON(info), ceiling, results})
	}
	fmt.Fprintf(r.stdout, "%s, %s\nceilings measured in this run: %s; %s, %s, batch %d\n", info.Name, info.Driver, ceilings(ceiling),
		c.Elem, c.Variant.LongName, c.Batch)
	return printBench(r.stdout, results, r.all)
}

// scalingSize is the size of the images where the suite scaling does not vary it: large enough for maps of several
// pixels in the last stage, small enough for a CPU.
const scalingSize = 128

// setSweeps checks and orders what the suite scaling varies.
func (r *benchRun) setSweeps(models []string) error {
	for _, list := range []struct {
		flag   string
		values *[]int
	}{{"batches", &r.sweeps.Batches}, {"sizes", &r.sweeps.Sizes}} {
		slices.Sort(*list.values)
		*list.values = slices.Compact(*list.values)
		if v := *list.values; len(v) > 0 && v[0] < 1 {
			return usagef("--%s: got %d, want at least 1", list.flag, v[0])
		}
	}
	for _, name := range models {
		v, err := variant(name)
		if err != nil {
			return err
		}
		r.sweeps.Models = append(r.sweeps.Models, v)
	}
	if r.sweeps.Budget < 0 {
		return usagef("--budget: got %s, want at least 0", r.sweeps.Budget)
	}
	return nil
}

// suiteModes are the modes that a suite runs.
func suiteModes(suite string) []layers.Mode {
	switch suite {
	case "train":
		return []layers.Mode{layers.Train}
	case "infer":
		return []layers.Mode{layers.Infer}
	}
	return []layers.Mode{layers.Infer, layers.Train}
}
