package parity_test

import (
	"context"
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/effnetv2/golden"
	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// TestTrained replays one recorded training step with RMSProp three times on the same batch.
func TestTrained(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, name := range []string{"nano", "b0", "s"} {
			t.Run(name, func(t *testing.T) {
				c, err := golden.Load(name)
				require.NoError(t, err)
				losses, state := trained(t, dev, c)
				report := c.Trained(losses, state)
				t.Log("\n" + report.String())
				assert.True(t, report.OK(), report.String())
			})
		}
	})
}

// trained returns the loss before each step, and the weights and running statistics after the last one.
func trained(t *testing.T, dev *vk.Device, c *golden.Case) (losses []float32, state map[string][]float32) {
	ctx := context.Background()
	m, err := effnetv2.New(dev, c.Variant, c.Classes)
	require.NoError(t, err)
	defer m.Release()
	require.NoError(t, m.Load(c.Weights()))
	buffer := func(name string, bytes int64, fill float32) vk.Range {
		b, err := dev.NewBuffer(name, bytes, vk.DeviceMemory)
		require.NoError(t, err)
		t.Cleanup(b.Release)
		require.NoError(t, dev.Upload(b.Range(), floats(repeat(fill, int(bytes/4)))))
		return b.Range()
	}
	params := m.Params.Bytes()
	slots := &layers.Slots{MeanSquare: buffer("mean squares", params, 1), Momentum: buffer("momentum", params, 0),
		EMA: buffer("averaged weights", params, 0), StatsEMA: buffer("averaged statistics", m.Running.Bytes(), 0)}
	step := buffer("step", kernels.StepBytes, 0)
	scale := buffer("loss scale", kernels.LossScaleBytes, 0)
	require.NoError(t, dev.Upload(scale, kernels.NewLossScale(kernels.F32).Encode()))
	n, err := m.Build(effnetv2.BuildOptions{Mode: layers.Train, Batch: c.N, H: c.H, W: c.W, Loss: true, Step: step, LossScale: scale,
		Grads: buffer("gradients", params, 0), Method: layers.RMSProp, Slots: slots})
	require.NoError(t, err)
	arena := layers.NewArena(dev)
	defer arena.Release()
	defer n.Release()
	require.NoError(t, n.Realize(ctx, arena, nil))
	require.NoError(t, dev.Upload(n.Image.Range(), floats(nhwc(c.Images(), c.H*c.W))))
	require.NoError(t, dev.Upload(n.Loss.Labels.Range(), labelWords(c.Labels())))
	scalars := kernels.StepScalars{LR: golden.LR, Rho: golden.Rho, Momentum: golden.Momentum, Eps: golden.Eps,
		WeightDecay: golden.WeightDecay}
	data := make([]byte, kernels.StepBytes)
	scalars.Encode(data)
	require.NoError(t, dev.Upload(step, data))
	for range golden.Steps {
		require.NoError(t, n.Step().Run(ctx))
		metrics := make([]byte, n.Loss.Metrics.Bytes)
		require.NoError(t, dev.Download(n.Loss.Metrics.Range(), metrics))
		losses = append(losses, math.Float32frombits(binary.LittleEndian.Uint32(metrics)))
	}
	state, err = m.Tensors(m.Weights(), m.Stats())
	require.NoError(t, err)
	return losses, state
}

func repeat(x float32, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = x
	}
	return out
}

// nhwc reorders [N 3 pixels] to [N pixels 3].
func nhwc(x []float32, pixels int) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		image, channel, pixel := i/(3*pixels), i/pixels%3, i%pixels
		out[(image*pixels+pixel)*3+channel] = v
	}
	return out
}

func floats(x []float32) []byte {
	data := make([]byte, 0, 4*len(x))
	for _, v := range x {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data
}

// labelWords are {a, b, lambda, weight} of every image, as kernels.Targets reads them: unmixed, of full weight.
func labelWords(labels []int64) []byte {
	var data []byte
	for _, l := range labels {
		for _, word := range []uint32{uint32(l), uint32(l), math.Float32bits(1), math.Float32bits(1)} {
			data = binary.LittleEndian.AppendUint32(data, word)
		}
	}
	return data
}
