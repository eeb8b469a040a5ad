package main

import (
	"fmt"
	"io"
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
	steps := table.New("SUITE", ">SIZE", ">MEDIAN MS", ">MIN MS", ">IMAGES/S", ">GFLOP/S", ">GB/S", "OF CEILING", ">FIRST STEP MS")
	any := false
	perMode := map[string][]bench.Result{}
	for _, r := range results {
		if r.Suite == "kernels" {
			perMode[r.Mode] = append(perMode[r.Mode], r)
			continue
		}
		any = true
		steps.Add(r.Suite, strconv.Itoa(r.Size), benchMillis(r.MedianMS), benchMillis(r.MinMS), table.Count(r.ImagesPerS), table.Count(r.GFLOPS),
			table.Count(r.GBps), ofCeiling(r.CeilingShare, r.Bound), benchMillis(r.FirstStepMS))
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
