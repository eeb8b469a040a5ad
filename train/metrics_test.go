package train_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/train"
)

func TestMetrics(t *testing.T) {
	file := filepath.Join(t.TempDir(), "metrics.jsonl")
	m, err := train.OpenMetrics(file, 0)
	require.NoError(t, err)
	for step := 10; step <= 50; step += 10 {
		require.NoError(t, m.Train(train.TrainRecord{Step: step, Loss: train.Number(math.NaN()), LR: 0.1}))
		require.NoError(t, m.Eval(train.EvalRecord{Step: step, Top1: 0.5}))
	}
	tr, eval, err := train.ReadMetrics(file) // while it is open: each line is there at once
	require.NoError(t, err)
	assert.Len(t, tr, 5)
	assert.Len(t, eval, 5)
	assert.True(t, math.IsNaN(float64(tr[0].Loss)), "JSON has no NaN: null stands for it")
	assert.InDelta(t, 0.5, float64(eval[4].Top1), 0)
	require.NoError(t, m.Close())

	// Killed in the middle of a line, then resumed from step 30.
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"kind":"train","step":6`)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	tr, _, err = train.ReadMetrics(file)
	require.NoError(t, err)
	assert.Len(t, tr, 5)
	m, err = train.OpenMetrics(file, 30)
	require.NoError(t, err)
	require.NoError(t, m.Train(train.TrainRecord{Step: 40, LR: 7}))
	require.NoError(t, m.Close())
	tr, eval, err = train.ReadMetrics(file)
	require.NoError(t, err)
	require.Len(t, tr, 4)
	assert.InDelta(t, 7, tr[3].LR, 0)
	assert.Len(t, eval, 3)

	m, err = train.OpenMetrics(file, 0)
	require.NoError(t, err)
	require.NoError(t, m.Close())
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Empty(t, text, "a new run begins anew")
}

// TestMetricsKeys pins the keys that others read.
func TestMetricsKeys(t *testing.T) {
	for text, keys := range map[string]string{
		string(must(json.Marshal(train.TrainRecord{}))): "kind step epoch stage size batch lr loss images_per_s device_ms wait_ms loss_scale",
		string(must(json.Marshal(train.EvalRecord{}))):  "kind step epoch stage size batch loss top1 top5 ema_loss ema_top1 ema_top5",
	} {
		for _, key := range strings.Fields(keys) {
			assert.Contains(t, text, `"`+key+`":`)
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestReadMetricsErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "metrics.jsonl")
	require.NoError(t, os.WriteFile(file, []byte("{\"kind\":\"note\"}\n{\"kind\":\"train\",\"step\":\"x\"}\n"), 0o644))
	_, _, err := train.ReadMetrics(file)
	assert.ErrorContains(t, err, "metrics.jsonl:2: ")
	_, _, err = train.ReadMetrics(file + ".none")
	assert.ErrorIs(t, err, os.ErrNotExist)
}
