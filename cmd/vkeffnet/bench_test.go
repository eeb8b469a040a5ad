package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/bench"
)

// TestFlameLayout holds the table of a step's time, which fits a terminal of 100 columns also with the longest names.
func TestFlameLayout(t *testing.T) {
	results := []bench.Result{
		{Section: "forward", Kernel: "conv_fwd_simple", Name: "conv fwd n8 32x32 8->8 3x3/1", MedianMS: 12, Count: 2, FloorMS: 3, Bound: bench.Arithmetic},
		{Section: "forward", Kernel: "apply", Name: "apply n8 1024x8", MedianMS: 8, Count: 1, FloorMS: 4, Bound: bench.Bandwidth},
		{Section: "backward", Kernel: "depthwise_wgrad_reduce", Name: "depthwise wgrad n8 12x12 1152->1152 3x3/1, 16 splits", MedianMS: 66.9, Count: 1, FloorMS: 70, Bound: bench.Bandwidth},
		{Section: "backward", Kernel: "bn_backward", Name: "bn backward C=8 parts=64", MedianMS: 1.1, Count: 1, FloorMS: 0, Bound: bench.Bandwidth},
	}
	for i := range results {
		results[i].Mode, results[i].Size, results[i].Batch = "train", 64, 8
	}
	var out strings.Builder
	assert.NoError(t, printFlame(&out, results))
	assert.Equal(t, `
train at 64, batch 8: device time by section, kernel and shape
                                                               MS   SHARE  TIMES  OF CEILING
step                               ████████████████████████   100  100.0%      5   80.0% bandwidth
backward                           ████████████████▌         68.0   68.0%      2  102.9% bandwidth
  depthwise_wgrad_reduce           ████████████████          66.9   66.9%      1  104.6% bandwidth
    12x12 1152->1152 3x3/1, 16 s…  ████████████████          66.9   66.9%      1  104.6% bandwidth
  bn_backward                                      ▌         1.10    1.1%      1    0.0% bandwidth
    C=8 parts=64                                   ▌         1.10    1.1%      1    0.0% bandwidth
forward                                            ▐███████  32.0   32.0%      3   31.2% arithmetic
  conv_fwd_simple                                  ▐█████    24.0   24.0%      2   25.0% arithmetic
    32x32 8->8 3x3/1                               ▐█████    24.0   24.0%      2   25.0% arithmetic
  apply                                                  ██  8.00    8.0%      1   50.0% bandwidth
    1024x8                                               ██  8.00    8.0%      1   50.0% bandwidth
`, out.String())
	for _, line := range strings.Split(out.String(), "\n") {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 100, line)
	}
}

// TestScalingLayout holds the tables of the suite scaling, 100 columns wide at most, with what was skipped explained below.
func TestScalingLayout(t *testing.T) {
	point := func(mode, sweep string, batch int, ms, share float64, flops, memory int64, skipped string) bench.Result {
		r := bench.Result{Suite: "scaling", Mode: mode, Model: "nano", Batch: batch, Size: 128, MedianMS: 2 * ms, MinMS: ms, ImagesPerS: 500 * float64(batch) / ms,
			GFLOPS: float64(flops) / ms / 2e6, CeilingShare: share / 2, Bound: bench.Arithmetic,
			Growth: &bench.Growth{Sweep: sweep, FLOPs: flops, GapsShare: 0.015, SectionMS: map[string]float64{"forward": 1, "backward": 2, "optimizer": 1}, Skipped: skipped}}
		r.Memory.Total = memory
		return r
	}
	cpu := point("infer", bench.ByModel, 8, 12345, 1.025, 1e12, 999<<30, "")
	cpu.StepCPUMS = 23456
	var out strings.Builder
	assert.NoError(t, printBench(&out, []bench.Result{
		point("train", bench.ByBatch, 1, 100, 0.1, 1e9, 1<<20, ""),
		point("train", bench.ByBatch, 2, 141.42, 0.125, 2e9, 2<<20, ""),
		point("train", bench.ByBatch, 64, 0, 0, 64e9, 1<<30, "would take 1m10s, of the budget of 2m0s only 24s are left"),
		cpu,
	}, false))
	assert.Equal(t, `
train by batch: nano, images of 128x128
BATCH  MS/STEP  GROWTH  MS/IMAGE  IMAGES/S  GFLOP/S  OF CEILING         OPTIM  GAPS    MEMORY
1          100               100      10.0     10.0   10.0% arithmetic  25.0%  1.5%  1.00 MiB
2          141    0.50      70.7      14.1     14.1   12.5% arithmetic  25.0%  1.5%  2.00 MiB
64     skipped                                                                       1.00 GiB
batch 64 skipped: would take 1m10s, of the budget of 2m0s only 24s are left

infer by model: batch 8 of 128x128
MODEL  MS/STEP  GROWTH  MS/IMAGE  IMAGES/S  GFLOP/S  OF CEILING         OPTIM  CPU MS   MEMORY
nano     12345              1543     0.648     81.0  102.5% arithmetic          23456  999 GiB
`, out.String())
}
