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
	n, _ := effnetv2.Nano.ParamCount(10)
	t.Log(n, effnetv2.Nano.MACs(32, 32, 10), effnetv2.Nano)
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
