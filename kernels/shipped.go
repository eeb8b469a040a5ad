package kernels

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// This file is data: how each class of devices computes what no Tuner has timed. tile.go reads it.

// shippedChoice is how a class of devices computes.
type shippedChoice struct {
	conv   string // variant of the dense convolutions; tiled where the device or the shape lacks what it needs
	lanes  string // variant of the operations that own channels
	groups int    // workgroups that a dense convolution is cut into, where its shape has so many: a few for every core

	// simple: how fast tiles with 1 to 4 columns an invocation are, relative to each other, when all columns are used.
	// Wide tiles share the loads of a row among more columns.
	rates [4]float64

	// tiled: the first line that holds for a GEMM and fits the device. The last one holds always and fits every device.
	tiles []shippedTile
}

// shippedTile is a line of a class's table.
type shippedTile struct {
	gemmN int    // columns at most; 0: any
	gemmM int    // rows at most; 0: any
	least int    // tiles at least
	tile  string // THREADS_N x THREADS_M x TILE_M: 4*THREADS_N columns and THREADS_M*TILE_M rows
}

// As wide as gemmN, in at most 14 KiB of shared memory; 256 invocations only where 128 large ones are left.
var gpuTiles = []shippedTile{
	{gemmN: 16, tile: "4x32x4"},
	{gemmN: 32, gemmM: 32, tile: "8x16x4"},
	{gemmN: 32, tile: "8x16x8"},
	{gemmM: 32, tile: "16x8x4"},
	{least: 128, tile: "16x16x8"},
	{tile: "16x8x8"},
}

// Of lavapipe 22.3 and 25.0 (BenchmarkConv), relative to 2 columns. GPUs run simple only when it is asked for.
var cpuRates = [4]float64{0.7, 1, 1.2, 1.25}

// Tiles of the uniform variant: TILE_M, TILE_N and the rate of lavapipe 26.2 with all rows and columns used, about GFLOP/s
// on two cores that reach 116: long with gemmK of hundreds, short with gemmK up to 64, where addresses and the tile's way out
// weigh more. Larger ones want more than the 32 vector registers.
var uniformTiles = []struct {
	m, n        uint32
	long, short float64
}{{16, 2, 100, 75}, {12, 2, 93, 65}, {8, 4, 88, 100}, {8, 2, 82, 70}, {8, 3, 75, 95}, {16, 1, 72, 50}, {24, 1, 70, 45}, {4, 4, 65, 85}}

// The groups of GPUs are about four workgroups of 128 to 256 invocations for every multiprocessor, pair of compute units
// or Xe core of the class's large devices: a calculation, no such device was timed.
var shippedChoices = map[string]shippedChoice{
	"nvidia": {conv: convCoopmat, lanes: wideVariant, groups: 512, rates: cpuRates, tiles: gpuTiles},
	"amd":    {conv: convCoopmat, lanes: wideVariant, groups: 256, rates: cpuRates, tiles: gpuTiles},
	"intel":  {conv: convCoopmat, lanes: wideVariant, groups: 128, rates: cpuRates, tiles: gpuTiles},
	"cpu":    {conv: convSimple, lanes: narrowVariant, groups: 64, rates: cpuRates, tiles: gpuTiles},
	"scalar": {conv: convUniform, lanes: narrowVariant, groups: 64, rates: cpuRates, tiles: gpuTiles},
	"other":  {conv: convCoopmat, lanes: wideVariant, groups: 64, rates: cpuRates, tiles: gpuTiles},
}

// deviceClass is the class under which the shipped choices have the device.
func deviceClass(dev *vk.Device) string {
	if dev.IsCPU() {
		if scalarRegisters(dev.Info()) {
			return "scalar"
		}
		return "cpu"
	}
	switch dev.Info().Vendor {
	case "NVIDIA":
		return "nvidia"
	case "AMD":
		return "amd"
	case "Intel":
		return "intel"
	}
	return "other"
}

// scalarRegisters reports whether a CPU driver keeps values that are uniform in scalar registers: lavapipe does since
// Mesa 25.2 (the newest that is known not to is 25.0, the oldest that is known to 26.0).
func scalarRegisters(i vk.Info) bool {
	var major, minor int
	n, _ := fmt.Sscanf(i.DriverVersion, "Mesa %d.%d", &major, &minor)
	return i.Driver == "llvmpipe" && n == 2 && major >= 26
}
