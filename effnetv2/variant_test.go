package effnetv2_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
)

// TestPublishedNumbers pins every row: parameters and entries are those of google/automl's test and of torchvision, MACs
// those of the architecture table.
func TestPublishedNumbers(t *testing.T) {
	for _, row := range []struct {
		v                    effnetv2.Variant
		trainable, withStats int64
		gmacEval, gmacTrain  string
		entries, blocks      int
	}{
		{effnetv2.B0, 7_139_704, 7_200_312, "0.718", "0.528", 420, 21},
		{effnetv2.B1, 8_141_052, 8_212_124, "1.197", "0.747", 0, 27},
		{effnetv2.B2, 10_096_086, 10_178_374, "1.698", "1.043", 0, 28},
		{effnetv2.B3, 14_358_406, 14_467_622, "3.011", "1.908", 0, 32},
		{effnetv2.S, 21_458_488, 21_612_360, "8.366", "5.308", 782, 40},
		{effnetv2.M, 54_139_356, 54_431_388, "24.582", "15.737", 1120, 57},
		{effnetv2.L, 118_515_272, 119_027_848, "56.080", "35.899", 1548, 79},
		{effnetv2.XL, 208_119_808, 208_896_832, "93.353", "52.529", 1990, 100},
	} {
		t.Run(row.v.Name, func(t *testing.T) {
			trainable, withStats := row.v.ParamCount(1000)
			assert.Equal(t, row.trainable, trainable)
			assert.Equal(t, row.withStats, withStats)
			gmac := func(size int) string { return fmt.Sprintf("%.3f", float64(row.v.MACs(size, size, 1000))/1e9) }
			assert.Equal(t, row.gmacEval, gmac(row.v.EvalSize))
			assert.Equal(t, row.gmacTrain, gmac(row.v.TrainSize))
			assert.Len(t, row.v.Blocks(), row.blocks)
			if row.entries > 0 {
				assert.Len(t, row.v.Params(1000), row.entries)
			}
		})
	}
}

// TestNano pins what tests and the demo rely on: small, and with every kind of block.
func TestNano(t *testing.T) {
	n, _ := effnetv2.Nano.ParamCount(10)
	assert.EqualValues(t, 158_228, n)
	assert.EqualValues(t, 666_752, effnetv2.Nano.MACs(32, 32, 10))
	seen := map[string]bool{}
	for _, b := range effnetv2.Nano.Blocks() {
		seen[fmt.Sprintf("%v e%d skip=%v", b.Kind, min(b.Expand, 2), b.Skip)] = true
		assert.Zero(t, b.In%8+b.Mid%8+b.Out%8, "channels are multiples of 8")
	}
	for _, kind := range []string{"FusedMBConv e1 skip=true", "FusedMBConv e2 skip=false", "MBConv e2 skip=false", "MBConv e2 skip=true"} {
		assert.True(t, seen[kind], kind)
	}
}

// TestScaledRows holds compound scaling against the published widths and depths.
func TestScaledRows(t *testing.T) {
	for name, want := range map[string]string{
		"b1": "32 | 2x16 3x32 3x48 4x96 6x112 9x192 | 1280",
		"b2": "32 | 2x16 3x32 3x56 4x104 6x120 10x208 | 1408",
		"b3": "40 | 2x16 3x40 3x56 5x112 7x136 12x232 | 1536",
	} {
		v, err := effnetv2.ByName(name)
		require.NoError(t, err)
		got := fmt.Sprint(v.Stem, " |")
		for _, s := range v.Stages {
			got += fmt.Sprintf(" %dx%d", s.Repeats, s.Out)
		}
		assert.Equal(t, want, got+fmt.Sprint(" | ", v.Head))
	}
	assert.Equal(t, 2, effnetv2.B0.Stages[1].Repeats, "scaling leaves its base alone")
}

// TestBlocks looks at what the flattened network adds to the rows.
func TestBlocks(t *testing.T) {
	blocks := effnetv2.S.Blocks()
	first, b := blocks[0], blocks[10] // the first MBConv: 64 -> 128, stride 2
	assert.True(t, first.Skip)
	assert.Zero(t, first.DropProb(0.2))
	assert.Equal(t, effnetv2.Block{Kind: effnetv2.MB, Stage: 3, In: 64, Mid: 256, Out: 128, Expand: 4, Kernel: 3, Stride: 2,
		SEReduced: 16, Pos: 10, Of: 40}, b)
	assert.Zero(t, b.DropProb(0.2), "a block without a skip never drops")
	assert.InDelta(t, 0.2*39/40, blocks[39].DropProb(0.2), 1e-15)
	assert.Equal(t, "blocks.3.0.", b.Prefix())
}

func TestByName(t *testing.T) {
	for name, want := range map[string]string{"s": "s", "S": "s", "efficientnetv2-s": "s", "EfficientNetV2-XL": "xl",
		"efficientnet_v2_m": "m", "tf_efficientnetv2_b3": "b3", "v2-b0": "b0", " nano ": "nano"} {
		v, err := effnetv2.ByName(name)
		require.NoError(t, err, name)
		assert.Equal(t, want, v.Name, name)
	}
	_, err := effnetv2.ByName("nan")
	var wrong *effnetv2.NameError
	require.True(t, errors.As(err, &wrong))
	assert.Equal(t, "nano", wrong.Nearest)
	assert.ErrorContains(t, err, `no model is called "nan"`)
}
