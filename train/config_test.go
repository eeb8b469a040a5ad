package train_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/train"
)

func tomlFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.toml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	return file
}

func TestLoadConfig(t *testing.T) {
	c, err := train.LoadConfig("", nil)
	require.NoError(t, err)
	assert.Equal(t, "s", c.Model)
	assert.Equal(t, 384, c.EvalSize)
	assert.Equal(t, train.CropSquash, c.EvalCrop)

	c, err = train.LoadConfig("", map[string]string{"data": "demo"})
	require.NoError(t, err)
	assert.Equal(t, "nano", c.Model, "the demo's network")

	file := tomlFile(t, "model = 'M'\nbatch = 7\nflip = false\nmean = [0.1, 0.2, 0.3]\n")
	c, err = train.LoadConfig(file, map[string]string{"batch": "9", "learning_rate": "1e-2", "recipe": "paper", "seed": "18446744073709551615"})
	require.NoError(t, err)
	assert.Equal(t, "m", c.Model)
	assert.Equal(t, 9, c.Batch, "what is set wins over the file")
	assert.Equal(t, 380, c.TrainSize, "the paper's")
	assert.InDelta(t, 0.01, c.LearningRate, 0)
	assert.Equal(t, [3]float64{0.1, 0.2, 0.3}, c.Mean)
	assert.Equal(t, uint64(1<<64-1), c.Seed)
	assert.False(t, c.Flip)
}

func TestLoadConfigErrors(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"model = 'nano'\nbacth = 3\n", `c.toml:2: got unknown key "bacth"`},
		{"[[stage]]\nend = 1.0\nsise = 3\n", `c.toml:3: got unknown key "stage.sise"`},
		{"batch = 'many'\n", "c.toml:1: "},
		{"batch = \n", "c.toml:1: "},
		{"recipe = 'mine'\n", `recipe is "mine", want code or paper`},
		{"model = 'q'\n", `"q"`},
	} {
		_, err := train.LoadConfig(tomlFile(t, row.text), nil)
		assert.ErrorContains(t, err, row.want)
	}
	_, err := train.LoadConfig(tomlFile(t, "bacth = 3\n"), nil)
	var key *train.KeyError
	require.ErrorAs(t, err, &key)
	assert.Contains(t, key.Known, "batch")
	_, err = train.LoadConfig(tomlFile(t, "[[stage]]\nsise = 3\n"), nil)
	require.ErrorAs(t, err, &key)
	assert.Contains(t, key.Known, "stage.size")

	_, err = train.LoadConfig("", map[string]string{"stage": "1"})
	require.ErrorAs(t, err, &key)
	assert.NotContains(t, key.Known, "stage", "tables cannot be set by a word")
	_, err = train.LoadConfig("", map[string]string{"batch": "1.5"})
	assert.EqualError(t, err, `train: batch is "1.5", want a whole number`)
	_, err = train.LoadConfig(filepath.Join(t.TempDir(), "none.toml"), nil)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// TestSettings sets every key to the text that it gives, which must change nothing.
func TestSettings(t *testing.T) {
	c, err := train.LoadConfig("", map[string]string{"data": "demo", "out": "RUN"})
	require.NoError(t, err)
	before := *c
	require.Greater(t, len(train.Settings()), 40)
	for _, s := range train.Settings() {
		text, err := c.Get(s.Key)
		require.NoError(t, err)
		require.NoError(t, c.Set(s.Key, text), s.Key)
	}
	assert.Equal(t, before, *c)
}

// TestResolvedConfig writes a resolved configuration and reads it back: it stands for the same run.
func TestResolvedConfig(t *testing.T) {
	c, err := train.LoadConfig("", map[string]string{"data": "demo"})
	require.NoError(t, err)
	p, err := c.Resolve(6000)
	require.NoError(t, err)
	assert.Equal(t, []int{28, 30, 32}, sizes(p.Stages))
	c.Run = &train.RunInfo{Version: "1", Go: "go1.23", Device: "llvmpipe", Driver: "Mesa"}
	file := filepath.Join(t.TempDir(), "config.toml")
	require.NoError(t, c.Write(file))
	again, err := train.LoadConfig(file, nil)
	require.NoError(t, err)
	q, err := again.Resolve(6000)
	require.NoError(t, err)
	assert.Equal(t, p, q)
	assert.Empty(t, c.Differences(again))
	assert.Nil(t, again.Run)

	again, err = train.LoadConfig(file, map[string]string{"stages": "2", "keep": "9", "out": "else"})
	require.NoError(t, err)
	q, err = again.Resolve(6000)
	require.NoError(t, err)
	assert.Equal(t, []int{28, 32}, sizes(q.Stages), "a key that shapes stages replaces the file's")
	assert.Equal(t, []string{"stages", "stage"}, c.Differences(again), "keep and out may differ")
}

func TestResolveErrors(t *testing.T) {
	for want, set := range map[string][2]string{
		`batch is "0", want at least 1`:                       {"batch", "0"},
		`batch is 600, want at most the 500 images`:           {"batch", "600"},
		`epochs is "NaN", want more than 0`:                   {"epochs", "nan"},
		`precision is "f8", want f32, f16 or bf16`:            {"precision", "f8"},
		`crop_area_max is "0.1", want crop_area_min to 1`:     {"crop_area_max", "0.1"},
		`optimizer is "adam", want rmsprop or sgd`:            {"optimizer", "adam"},
		`eval_crop is "left", want centre or squash`:          {"eval_crop", "left"},
		`label_smoothing is "1", want at least 0 and below 1`: {"label_smoothing", "1"},
		`train_size is "-1", want at least 1`:                 {"train_size", "-1"},
		`stage 3 has RandAugment magnitude 31`:                {"magnitude", "31"},
		`augment_ops is "3", want 0 to 2`:                     {"augment_ops", "3"},
	} {
		c, err := train.DefaultConfig(effnetv2.Nano, "")
		require.NoError(t, err)
		c.Data = "demo"
		require.NoError(t, c.Set(set[0], set[1]))
		_, err = c.Resolve(500)
		assert.ErrorContains(t, err, want)
	}
	c, err := train.DefaultConfig(effnetv2.Nano, "")
	require.NoError(t, err)
	_, err = c.Resolve(500)
	assert.ErrorContains(t, err, `data is "", want a folder`)
	c.Data, c.Std[1] = "demo", 0
	_, err = c.Resolve(500)
	assert.ErrorContains(t, err, "deviations above 0")
}
