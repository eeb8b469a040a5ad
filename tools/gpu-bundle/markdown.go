package main

import (
	"fmt"
	"strings"
)

// markdown is report.md.
func (r *report) markdown() string {
	var w strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&w, format+"\n", args...) }
	verdict := "everything that ran was right"
	if !r.OK {
		verdict = "**something failed**, see below"
	}
	p("# vkeffnet on this machine: %s\n", verdict)
	p("Bundle %s, started %s, %.0f s. %s, %d CPUs. %s", r.Version, r.Started.Format("2006-01-02 15:04 UTC"), r.Seconds, r.Machine.OS, r.Machine.CPUs, r.Machine.GPU)
	p("PyTorch: %s\n", r.Machine.Torch)

	p("## Devices\n\n| device | driver | type | memory | used |\n| --- | --- | --- | --- | --- |")
	for _, d := range r.Devices {
		used := fmt.Sprint(d["refused"])
		if used == "" || d["refused"] == nil {
			used = "no"
		}
		if chosen, _ := d["chosen"].(bool); chosen {
			used = "**yes**"
		}
		p("| %v | %v | %v | %.1f GiB | %s |", d["name"], d["driver"], d["type"], number(d, "memory_bytes")/(1<<30), used)
	}

	p("\n## Self-test\n\n%d kernels and variants, %d wrong. %s", r.Selftest.Kernels, len(r.Selftest.Failed), r.Selftest.Error)
	for _, k := range r.Selftest.Failed {
		p("- %v %v: NMSE %v; %v", k["kernel"], k["variant"], k["nmse"], k["hint"])
	}

	p("\n## Tests\n\n| package | result | passed | failed | skipped | seconds |\n| --- | --- | --- | --- | --- | --- |")
	for _, t := range r.Tests {
		result := "ok"
		if !t.OK {
			result = "**FAILED** " + t.Error
		}
		p("| %s | %s | %d | %d | %d | %.1f |", t.Package, result, t.Passed, len(t.Failed), t.Skipped, t.Seconds)
	}
	for _, t := range r.Tests {
		for _, name := range t.Failed {
			p("- %s: %s", t.Package, name)
		}
	}

	r.steps(p)
	p("\n## Kernels\n\n| kernel | of | precision | ms | GFLOP/s | GB/s | share of ceiling |\n| --- | --- | --- | --- | --- | --- | --- |")
	for _, b := range r.Bench {
		for _, o := range b.Results {
			if o["suite"] == "kernels" {
				p("| %v | %v | %v | %.4g | %.4g | %.4g | %.2f |", o["name"], o["model"], o["precision"], number(o, "median_ms"), number(o, "gflops"), number(o, "gbps"), number(o, "ceiling_share"))
			}
		}
	}
	for _, b := range append(append([]benchRun{}, r.Bench...), r.Peer...) {
		if b.Error != "" {
			p("\n`%s`: %s", b.Command, b.Error)
		}
	}
	return w.String()
}

// steps writes the table of whole steps: ours, and beside it the peer's on the same work.
func (r *report) steps(p func(string, ...any)) {
	p("\n## Steps\n\nTimes are of a whole step as the host sees it, medians. The ratio is images per second, ours to theirs.\n")
	p("| work | program | precision | ms | images/s | ratio | first step ms |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, b := range r.Bench {
		for _, o := range b.Results {
			if o["suite"] == "kernels" {
				continue
			}
			key, ours := workKey(o), number(o, "images_per_s")
			p("| %s | vkeffnet | %v | %.2f | %.1f | | %.0f |", key, o["precision"], number(o, "median_ms"), ours, number(o, "first_step_ms"))
			for _, peer := range r.Peer {
				for _, q := range peer.Results {
					if workKey(q) != key {
						continue
					}
					how := fmt.Sprint(q["precision"])
					if compiled, _ := q["compiled"].(bool); compiled {
						how += " compiled"
					}
					theirs := number(q, "images_per_s")
					p("| | %v, %v | %s | %.2f | %.1f | %.2f | %.0f |", q["peer"], q["source"], how, number(q, "median_ms"), theirs, ours/theirs, number(q, "first_step_ms"))
				}
			}
		}
	}
}
