package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/bench"
	"github.com/seed-8d806880/vkeffnet/cmd/internal/table"
)

// Of the table that shows where a step's time goes, made for a terminal of 100 columns.
const (
	flameNames = 33   // columns of the names, with their indentation
	flameBars  = 24   // columns of the bars
	flameLeast = 0.01 // of the step: shorter parts are put together
)

// ceilings says what was measured.
func ceilings(c bench.Ceiling) string {
	s := fmt.Sprintf("%s GFLOP/s, %s GB/s", table.Count(c.GFLOPS), table.Count(c.GBps))
	if c.CoopMatGFLOPS > 0 {
		s += fmt.Sprintf(", %s GFLOP/s in cooperative matrices", table.Count(c.CoopMatGFLOPS))
	}
	return s
}

func benchMillis(ms float64) string { return table.Millis(time.Duration(ms * 1e6)) }

// ofCeiling is a share of a ceiling with the ceiling's name.
func ofCeiling(share float64, bound bench.Bound) string {
	return fmt.Sprintf("%6s %s", table.Percent(share), bound)
}

// printBench prints the steps in one table, and per mode where the time of the step goes; with all also every dispatch.
func printBench(w io.Writer, results []bench.Result, all bool) error {
	steps := table.New("SUITE", ">SIZE", ">MEDIAN MS", ">MIN MS", ">IMAGES/S", ">GFLOP/S", ">GB/S", "OF CEILING", ">FIRST STEP MS", ">HOST MS")
	any := false
	if len(results) > 0 && results[0].Growth != nil {
		return printScaling(w, results)
	}
	perMode := map[string][]bench.Result{}
	for _, r := range results {
		if r.Suite == "kernels" {
			perMode[r.Mode] = append(perMode[r.Mode], r)
			continue
		}
		any = true
		steps.Add(r.Suite, strconv.Itoa(r.Size), benchMillis(r.MedianMS), benchMillis(r.MinMS), table.Count(r.ImagesPerS), table.Count(r.GFLOPS),
			table.Count(r.GBps), ofCeiling(r.CeilingShare, r.Bound), benchMillis(r.FirstStepMS), benchMillis(r.HostMS))
	}
	if any {
		fmt.Fprintln(w)
		if err := steps.Write(w); err != nil {
			return err
		}
	}
	for _, mode := range []string{"infer", "train"} {
		list := perMode[mode]
		if len(list) == 0 {
			continue
		}
		if all {
			if err := printDispatches(w, list); err != nil {
				return err
			}
		}
		if err := printFlame(w, list); err != nil {
			return err
		}
	}
	return nil
}

// printDispatches lists the results of one mode of the suite kernels.
func printDispatches(w io.Writer, list []bench.Result) error {
	fmt.Fprintf(w, "\n%s at %d: every distinct dispatch\n", list[0].Mode, list[0].Size)
	t := table.New("SECTION", "KERNEL", "WORK", ">TIMES", ">MEDIAN MS", ">MIN MS", ">SHARE", ">GFLOP/S", ">GB/S", "OF CEILING")
	for _, r := range list {
		t.Add(r.Section, r.Kernel, r.Name, strconv.Itoa(r.Count), benchMillis(r.MedianMS), benchMillis(r.MinMS), table.Percent(r.Share),
			table.Count(r.GFLOPS), table.Count(r.GBps), ofCeiling(r.CeilingShare, r.Bound))
	}
	return t.Write(w)
}

// printFlame draws where the time of a step goes.
func printFlame(w io.Writer, list []bench.Result) error {
	step := bench.Flame(list, flameLeast)
	fmt.Fprintf(w, "\n%s at %d, batch %d: device time by section, kernel and shape\n", list[0].Mode, list[0].Size, list[0].Batch)
	t := table.New("", "", ">MS", ">SHARE", ">TIMES", "OF CEILING")
	var add func(f *bench.Frame, depth int)
	add = func(f *bench.Frame, depth int) {
		var bar, share string
		if step.MS > 0 {
			bar = table.Bar(f.Begin/step.MS, (f.Begin+f.MS)/step.MS, flameBars)
			share = table.Percent(f.MS / step.MS)
		}
		name := table.Cut(strings.Repeat("  ", max(depth-1, 0))+f.Name, flameNames)
		t.Add(name, fmt.Sprintf("%-*s", flameBars, bar), benchMillis(f.MS), share, strconv.Itoa(f.Count), ofCeiling(f.Share(), f.Bound))
		for _, p := range f.Parts {
			add(p, depth+1)
		}
	}
	add(step, 0)
	return t.Write(w)
}

// printScaling prints a table for each mode and sweep of the suite scaling; what was skipped is explained below it.
func printScaling(w io.Writer, results []bench.Result) error {
	for len(results) > 0 {
		first := results[0]
		n := 1
		for n < len(results) && results[n].Mode == first.Mode && results[n].Sweep == first.Sweep {
			n++
		}
		if err := printSweep(w, results[:n]); err != nil {
			return err
		}
		results = results[n:]
	}
	return nil
}

func printSweep(w io.Writer, rows []bench.Result) error {
	first := rows[0]
	value := func(r bench.Result) string {
		return map[string]string{bench.ByBatch: strconv.Itoa(r.Batch), bench.BySize: strconv.Itoa(r.Size), bench.ByModel: r.Model}[r.Sweep]
	}
	model, batch, size := first.Model, fmt.Sprintf(", batch %d", first.Batch), fmt.Sprintf(" of %dx%d", first.Size, first.Size)
	switch first.Sweep {
	case bench.ByBatch:
		batch = ", images"
	case bench.BySize:
		size = ""
	case bench.ByModel:
		model, batch = "", strings.TrimPrefix(batch, ", ")
	}
	fmt.Fprintf(w, "\n%s by %s: %s%s%s\n", first.Mode, first.Sweep, model, batch, size)
	last := "GAPS"
	if slices.ContainsFunc(rows, func(r bench.Result) bool { return r.StepCPUMS > 0 }) {
		last = "CPU MS"
	}
	t := table.New(strings.ToUpper(first.Sweep), ">MS/STEP", ">GROWTH", ">MS/IMAGE", ">IMAGES/S", ">GFLOP/S", "OF CEILING", ">OPTIM", ">"+last, ">MEMORY")
	var skipped []string
	var before *bench.Result
	for _, r := range rows {
		r := r.Fastest()
		memory := table.Bytes(r.Memory.Total)
		if r.Skipped != "" {
			t.Add(value(r), "skipped", "", "", "", "", "", "", "", memory)
			skipped = append(skipped, fmt.Sprintf("%s %s skipped: %s", r.Sweep, value(r), r.Skipped))
			continue
		}
		growth := ""
		if before != nil && r.FLOPs != before.FLOPs {
			growth = fmt.Sprintf("%.2f", math.Log(r.GrowingMS()/before.GrowingMS())/math.Log(float64(r.FLOPs)/float64(before.FLOPs)))
		}
		before = &r
		optimizer, gaps := "", table.Percent(r.GapsShare)
		if r.StepCPUMS > 0 {
			gaps = benchMillis(r.StepCPUMS)
		}
		if r.Mode == "train" {
			optimizer = table.Percent(r.OptimizerShare())
		}
		t.Add(value(r), benchMillis(r.MedianMS), growth, benchMillis(r.MedianMS/float64(r.Batch)), table.Count(r.ImagesPerS), table.Count(r.GFLOPS),
			ofCeiling(r.CeilingShare, r.Bound), optimizer, gaps, memory)
	}
	if err := t.Write(w); err != nil {
		return err
	}
	for _, s := range skipped {
		fmt.Fprintln(w, s)
	}
	return nil
}
