package train_test

import (
	"context"
	"errors"
	"image"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/train"
	"github.com/seed-8d806880/vkeffnet/vk"
)

func TestMain(m *testing.M) { os.Exit(shadertest.Main(m)) }

// smallData writes 32 images of 4 classes to train on and 8 to evaluate with.
func smallData(t *testing.T) string {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	for part, n := range map[string]int{"train": 32, "t10k": 8} {
		images, labels := make([]byte, n*20*20), make([]byte, n)
		for i := range images {
			images[i] = byte(rng.Uint32())
		}
		for i := range labels {
			labels[i] = byte(i % 4)
		}
		writeFiles(t, dir, idx(false, images, uint32(n), 20, 20), part+"-images-idx3-ubyte")
		writeFiles(t, dir, idx(false, labels, uint32(n)), part+"-labels-idx1-ubyte")
	}
	return "idx:" + dir
}

// smallRun is a run of six steps with everything random switched on; its stages end with steps 3 and 6, its epochs with 4.
func smallRun(t *testing.T, data string) *train.Config {
	c, err := train.LoadConfig("", map[string]string{"model": "nano", "data": data, "out": filepath.Join(t.TempDir(), "run"),
		"seed": "7", "batch": "8", "epochs": "1.5", "stages": "2", "first_size": "16", "train_size": "20", "eval_size": "20",
		"first_magnitude": "5", "magnitude": "10", "first_mixup": "0.2", "mixup": "0.4", "dropout": "0.2", "drop_path": "0.2",
		"augment_ops": "1", "eval_every": "0", "checkpoint_every": "0", "log_every": "1", "keep": "9"})
	require.NoError(t, err)
	return c
}

// finished returns everything that a run left of its last step: the checkpoint with weights, statistics, averages and
// optimizer slots, and the weights file.
func finished(t *testing.T, c *train.Config) map[string][]byte {
	t.Helper()
	k, _, err := train.LatestCheckpoint(filepath.Join(c.Out, "checkpoints"))
	require.NoError(t, err)
	defer k.Close()
	require.Equal(t, 6, k.State.Step)
	left := map[string][]byte{}
	for _, name := range k.Blobs() {
		left[name] = readBlob(t, k, name)
	}
	require.Contains(t, left, "mean_square")
	require.Contains(t, left, "ema")
	left["last.safetensors"], err = os.ReadFile(filepath.Join(c.Out, "last.safetensors"))
	require.NoError(t, err)
	return left
}

func assertSame(t *testing.T, want, got map[string][]byte) {
	t.Helper()
	require.Len(t, got, len(want))
	for name := range want {
		assert.True(t, string(want[name]) == string(got[name]), "%s differs", name)
	}
}

// TestRunRepeats: one seed gives the same bits, whether a run is left alone, stopped after every step, so in the middle of
// an epoch and at the end of a stage, killed, or ended by a learning rate that was too high. Another seed gives others.
func TestRunRepeats(t *testing.T) {
	const variable = "TRAIN_TEST_RUN_UNTIL_KILLED"
	if out := os.Getenv(variable); out != "" {
		runUntilKilled(t, out)
	}
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		ctx, data := context.Background(), smallData(t)
		stop := make(chan struct{})
		close(stop)
		alone := smallRun(t, data)
		r, err := train.Run(ctx, dev, alone, nil)
		require.NoError(t, err)
		assert.Equal(t, 6, r.Steps)
		assert.FileExists(t, r.Weights)
		want := finished(t, alone)

		t.Run("again", func(t *testing.T) {
			c := smallRun(t, data)
			_, err := train.Run(ctx, dev, c, &train.RunOptions{})
			require.NoError(t, err)
			assertSame(t, want, finished(t, c))
			_, err = train.Run(ctx, dev, c, nil)
			assert.ErrorContains(t, err, "which holds a run")
		})
		t.Run("seed", func(t *testing.T) {
			c := smallRun(t, data)
			c.Seed = 8
			_, err := train.Run(ctx, dev, c, nil)
			require.NoError(t, err)
			assert.NotEqual(t, want["ema"], finished(t, c)["ema"])
		})
		t.Run("stopped", func(t *testing.T) {
			c := smallRun(t, data)
			for step := range 5 {
				_, err := train.Run(ctx, dev, c, &train.RunOptions{Resume: step > 0, Stop: stop})
				require.ErrorIs(t, err, train.ErrStopped)
				k, _, err := train.LatestCheckpoint(filepath.Join(c.Out, "checkpoints"))
				require.NoError(t, err)
				assert.Equal(t, step+1, k.State.Step)
				k.Close()
			}
			_, err := train.Run(ctx, dev, c, &train.RunOptions{Resume: true})
			require.NoError(t, err)
			assertSame(t, want, finished(t, c))
			steps, evals, err := train.ReadMetrics(filepath.Join(c.Out, "metrics.jsonl"))
			require.NoError(t, err)
			assert.Len(t, steps, 6)
			assert.Len(t, evals, 2)
		})
		t.Run("killed", func(t *testing.T) {
			c := smallRun(t, data)
			c.CheckpointEvery = 0.25
			cmd := exec.Command(os.Args[0], "-test.run=^TestRunRepeats$")
			cmd.Env = append(os.Environ(), variable+"="+c.Out, "TRAIN_TEST_DATA="+data, "TRAIN_TEST_DEVICE="+strconv.Itoa(dev.Info().Index))
			require.NoError(t, cmd.Start())
			defer cmd.Process.Kill()
			second := filepath.Join(c.Out, "checkpoints", "step-00000002.safetensors")
			require.Eventually(t, func() bool { _, err := os.Stat(second); return err == nil }, time.Minute, time.Millisecond)
			require.NoError(t, cmd.Process.Kill())
			require.Error(t, cmd.Wait())
			require.NoFileExists(t, filepath.Join(c.Out, "last.safetensors"), "it was killed on its way")
			_, err := train.Run(ctx, dev, c, &train.RunOptions{Resume: true})
			require.NoError(t, err)
			assertSame(t, want, finished(t, c))
		})
		t.Run("not finite", func(t *testing.T) {
			c := smallRun(t, data)
			_, err := train.Run(ctx, dev, c, &train.RunOptions{Stop: stop})
			require.ErrorIs(t, err, train.ErrStopped)
			wild := *c
			wild.LearningRate = 1e30
			_, err = train.Run(ctx, dev, &wild, &train.RunOptions{Resume: true})
			var notFinite *train.NotFiniteError
			require.ErrorAs(t, err, &notFinite)
			assert.Greater(t, notFinite.Step, 1)
			assert.Contains(t, notFinite.Hint(), "--learning-rate")
			_, err = train.Run(ctx, dev, c, &train.RunOptions{Resume: true})
			require.NoError(t, err)
			assertSame(t, want, finished(t, c))
		})
	})
}

// runUntilKilled is the program that TestRunRepeats kills: it trains, and stays when it is done with its fifth step.
func runUntilKilled(t *testing.T, out string) {
	o := shadertest.Options()
	o.Device = os.Getenv("TRAIN_TEST_DEVICE")
	dev, err := vk.Open(o)
	require.NoError(t, err)
	c := smallRun(t, os.Getenv("TRAIN_TEST_DATA"))
	c.Out, c.CheckpointEvery = out, 0.25
	stop := make(chan struct{})
	go func() {
		fifth := filepath.Join(out, "checkpoints", "step-00000004.safetensors")
		for {
			if _, err := os.Stat(fifth); err == nil {
				close(stop)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err = train.Run(context.Background(), dev, c, &train.RunOptions{Stop: stop})
	require.ErrorIs(t, err, train.ErrStopped)
	select {}
}

// TestRunOptimizers: every optimizer trains, each its own way, and SGD keeps no mean squares.
func TestRunOptimizers(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		data := smallData(t)
		ends := map[string]string{}
		for name, set := range map[string]func(*train.Config){
			"rmsprop":  func(c *train.Config) { c.Optimizer = "rmsprop" },
			"sgd":      func(c *train.Config) { c.Optimizer = "sgd" },
			"nesterov": func(c *train.Config) { c.Optimizer, c.Nesterov = "sgd", true },
		} {
			c := smallRun(t, data)
			set(c)
			_, err := train.Run(context.Background(), dev, c, nil)
			require.NoError(t, err, name)
			k, _, err := train.LatestCheckpoint(filepath.Join(c.Out, "checkpoints"))
			require.NoError(t, err)
			if name == "rmsprop" {
				assert.Contains(t, k.Blobs(), "mean_square")
			} else {
				assert.NotContains(t, k.Blobs(), "mean_square")
			}
			ends[string(readBlob(t, k, "weights"))] = name
			k.Close()
		}
		assert.Len(t, ends, 3, "two optimizers ended with the same weights")
	})
}

// TestRunRefuses: what cannot be trained is refused before the first step, and a corrected run may go to the same folder.
func TestRunRefuses(t *testing.T) {
	data := smallData(t)
	low := *shadertest.Options()
	low.Lower = &vk.Limits{Heap: 64 << 20}
	dev, err := vk.Open(&low)
	require.NoError(t, err)
	defer dev.Close()

	c := smallRun(t, "demo")
	c.Batch, c.TrainSize = 4096, 64
	_, err = train.Run(context.Background(), dev, c, nil)
	assert.ErrorIs(t, err, vk.ErrOutOfMemory)
	assert.ErrorContains(t, err, "a batch of 4096 images does not fit the device, a smaller --batch may")

	other := filepath.Join(t.TempDir(), "b0.safetensors")
	sd, err := effnetv2.B0.StateDict(4, effnetv2.Init(effnetv2.B0, 4, 1), effnetv2.Timm)
	require.NoError(t, err)
	require.NoError(t, sd.WriteFile(other))
	out := c.Out
	c = smallRun(t, data)
	c.Out, c.Weights = out, other
	_, err = train.Run(context.Background(), dev, c, nil)
	var match *effnetv2.MatchError
	require.ErrorAs(t, err, &match)

	c.Weights, c.Epochs = "", 0.25
	_, err = train.Run(context.Background(), dev, c, nil)
	assert.NoError(t, err)
}

// TestRunFullDisk: a run that finds no room says so and leaves nothing half-written, and the checkpoint before is whole.
func TestRunFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := exec.Command("mount", "-t", "tmpfs", "-o", "size=7m", "none", dir).Run(); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	defer exec.Command("umount", dir).Run()
	dev := shadertest.Devices(t)[0]
	c := smallRun(t, smallData(t))
	c.Out, c.CheckpointEvery = dir, 0.25
	_, err := train.Run(context.Background(), dev, c, nil)
	var full *train.FullError
	require.ErrorAs(t, err, &full)
	assert.Contains(t, full.Hint(), "--resume")
	k, skipped, err := train.LatestCheckpoint(filepath.Join(dir, "checkpoints"))
	require.NoError(t, err)
	assert.Empty(t, skipped)
	assert.Positive(t, k.State.Step)
	require.NoError(t, k.Close())
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		assert.NotEqual(t, ".part", filepath.Ext(path))
		return err
	}))
}

// TestPredict: a predictor gives each image its classes, the likeliest first, and refuses what is no weights file.
func TestPredict(t *testing.T) {
	dev := shadertest.Devices(t)[0]
	c := smallRun(t, smallData(t))
	r, err := train.Run(context.Background(), dev, c, nil)
	require.NoError(t, err)
	p, err := train.NewPredictor(dev, r.Weights, &train.PredictOptions{Top: 3, Batch: 2})
	require.NoError(t, err)
	defer p.Close()
	guesses, err := p.Predict(context.Background(), quarters(9, 31), image.NewRGBA(image.Rect(0, 0, 1, 1)), quarters(40, 3))
	require.NoError(t, err)
	require.Len(t, guesses, 3)
	for _, g := range guesses {
		require.Len(t, g, 3)
		assert.GreaterOrEqual(t, g[0].P, g[1].P)
		assert.InDelta(t, 1, g[0].P+g[1].P+g[2].P, 0.75)
	}
	_, err = train.NewPredictor(dev, filepath.Join(c.Out, "config.toml"), nil)
	assert.Error(t, err)
	_, err = train.NewPredictor(dev, filepath.Join(c.Out, "none"), nil)
	assert.True(t, errors.Is(err, os.ErrNotExist), err)
}
