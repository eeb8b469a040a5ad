package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/bench"
	"github.com/seed-8d806880/vkeffnet/cmd/internal/table"
	"github.com/seed-8d806880/vkeffnet/layers"
)

func newBench(a *app) *cobra.Command {
	var suite, model, precision, padding, optimizer string
	var size, batch, classes int
	var asJSON bool
	o := bench.Options{Warmup: 2, Repeats: 10}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "time steps and kernels on synthetic data, beside the device's ceilings",
		Long: `bench times the device on synthetic data after a warm-up.

The suites infer and train time whole steps as the host sees them; kernels times every distinct
dispatch of both by the device's timestamps. GFLOP/s and GB/s count what the mathematics needs and
the bytes of the ranges that are read and written; the ceilings (a copy, and multiply-adds in
registers) are measured in the same run. A share above 100% means that the data stayed in a cache.
Without --suite all three run; without --size images have the model's own training and evaluation
sizes.`,
		Example: `  vkeffnet bench --model b0 --batch 8 --size 64
  vkeffnet bench --suite kernels --model s --batch 32
  vkeffnet bench --suite infer --model b0 --batch 1 --size 224 --json`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&suite, "suite", "", "kernels, infer or train; default: all")
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
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.RunE = do(func(ctx context.Context, _ []string) error {
		suites := []string{"infer", "train", "kernels"}
		switch suite {
		case "infer", "train", "kernels":
			suites = []string{suite}
		case "":
		default:
			return usagef("--suite: got %q, want kernels, infer or train", suite)
		}
		if o.Repeats < 1 || o.Warmup < 0 {
			return usagef("--repeats and --warmup: got %d and %d, want at least 1 and 0", o.Repeats, o.Warmup)
		}
		c, err := a.workload(model, precision, padding, optimizer)
		if err != nil {
			return err
		}
		c.Batch, c.Classes = batch, classes
		sizes := map[layers.Mode]int{layers.Train: c.Variant.TrainSize, layers.Infer: c.Variant.EvalSize}
		if size != 0 {
			sizes[layers.Train], sizes[layers.Infer] = size, size
		}
		c.Size = sizes[layers.Train]
		if err := checkSizes(c); err != nil {
			return err
		}
		dev, err := a.open()
		if err != nil {
			return err
		}
		defer dev.Close()
		ceiling, err := bench.MeasureCeiling(ctx, dev)
		if err != nil {
			return err
		}
		var results []bench.Result
		for _, s := range suites {
			for _, mode := range suiteModes(s) {
				c.Mode, c.Size = mode, sizes[mode]
				if s == "kernels" {
					list, err := bench.Kernels(ctx, dev, c, ceiling, o)
					if err != nil {
						return err
					}
					results = append(results, list...)
					continue
				}
				r, err := bench.Step(ctx, dev, c, ceiling, o)
				if err != nil {
					return err
				}
				results = append(results, r)
			}
		}
		if asJSON {
			return a.printJSON(struct {
				Device  deviceJSON     `json:"device"`
				Ceiling bench.Ceiling  `json:"ceiling"`
				Results []bench.Result `json:"results"`
			}{newDeviceJSON(dev.Info()), ceiling, results})
		}
		info := dev.Info()
		fmt.Fprintf(a.stdout, "%s, %s\nceilings measured in this run: %s GFLOP/s, %s GB/s; %s, %s, batch %d\n",
			info.Name, info.Driver, table.Count(ceiling.GFLOPS), table.Count(ceiling.GBps), c.Elem, c.Variant.LongName, batch)
		return a.printBench(results)
	})
	return cmd
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

// printBench prints the steps in one table, and per mode the kernels by their share of the step and every dispatch.
func (a *app) printBench(results []bench.Result) error {
	millis := func(ms float64) string { return table.Millis(time.Duration(ms * 1e6)) }
	steps := table.New("SUITE", ">SIZE", ">MEDIAN MS", ">MIN MS", ">IMAGES/S", ">GFLOP/S", ">GB/S", ">CEILING", ">FIRST STEP MS")
	any := false
	perMode := map[string][]bench.Result{}
	for _, r := range results {
		if r.Suite == "kernels" {
			perMode[r.Mode] = append(perMode[r.Mode], r)
			continue
		}
		any = true
		steps.Add(r.Suite, strconv.Itoa(r.Size), millis(r.MedianMS), millis(r.MinMS), table.Count(r.ImagesPerS), table.Count(r.GFLOPS),
			table.Count(r.GBps), table.Percent(r.CeilingShare), millis(r.FirstStepMS))
	}
	if any {
		fmt.Fprintln(a.stdout)
		if err := steps.Write(a.stdout); err != nil {
			return err
		}
	}
	for _, mode := range []string{"infer", "train"} {
		list := perMode[mode]
		if len(list) == 0 {
			continue
		}
		fmt.Fprintf(a.stdout, "\n%s at %d: every distinct dispatch\n", mode, list[0].Size)
		t := table.New("SECTION", "KERNEL", "WORK", ">TIMES", ">MEDIAN MS", ">MIN MS", ">SHARE", ">GFLOP/S", ">GB/S", ">CEILING")
		for _, r := range list {
			t.Add(r.Section, r.Kernel, r.Name, strconv.Itoa(r.Count), millis(r.MedianMS), millis(r.MinMS), table.Percent(r.Share),
				table.Count(r.GFLOPS), table.Count(r.GBps), table.Percent(r.CeilingShare))
		}
		if err := t.Write(a.stdout); err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "\n%s at %d: share of the step by kernel\n", mode, list[0].Size)
		t = table.New("SECTION", "KERNEL", ">DISPATCHES", ">MS", ">SHARE", ">GFLOP/S", ">GB/S", ">CEILING")
		for _, g := range bench.ByKernel(list) {
			t.Add(g.Section, g.Kernel, strconv.Itoa(g.Count), millis(g.MS), table.Percent(g.Share), table.Count(g.GFLOPS), table.Count(g.GBps), table.Percent(g.Roof))
		}
		if err := t.Write(a.stdout); err != nil {
			return err
		}
	}
	return nil
}
