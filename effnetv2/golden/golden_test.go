package golden

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
)

// TestGeneratorIsPythons holds every weight, statistic and image made here against the signed sums of those made in Python.
func TestGeneratorIsPythons(t *testing.T) {
	for _, name := range Names() {
		c, err := Load(name)
		require.NoError(t, err)
		check := func(row int, name string, x []float32) {
			sums := project(c.seed, name, len(x), func(i int) float64 { return float64(x[i]) })
			for k, got := range sums {
				assert.InEpsilon(t, float64(c.ref["initial.projections"].F32[row*projections+k]), got, 1e-6, "%s %s", c.Name, name)
			}
		}
		weights, row := c.Weights(), 0
		for _, p := range c.Variant.Params(c.Classes) {
			if p.Kind != effnetv2.BNCount {
				check(row, p.Torchvision, weights[p.Timm])
				row++
			}
		}
		check(row, "images", c.Images())
		assert.Len(t, c.ref["initial.projections"].F32, (row+1)*projections)
		assert.Len(t, c.Labels(), c.N)
	}
}

// exact returns the reference itself as a model's output; nano's gradients are stored whole.
func exact(t *testing.T) (*Case, *effnetv2.StepOutput) {
	c, err := Load("nano")
	require.NoError(t, err)
	out := &effnetv2.StepOutput{Logits: c.ref["train.logits"].F32, Loss: c.ref["train.loss"].F32[0],
		Grads: map[string][]float32{}, Buffers: map[string][]float32{}}
	take := func(key string, params []effnetv2.Param, into map[string][]float32) {
		values := c.ref[key+".values"].F32
		for _, p := range params {
			into[p.Timm] = append([]float32{}, values[:p.Len()]...)
			values = values[p.Len():]
		}
		assert.Empty(t, values)
	}
	take("grad", c.train, out.Grads)
	take("stats", c.stats, out.Buffers)
	return c, out
}

func TestTheReferencePasses(t *testing.T) {
	c, out := exact(t)
	report := c.Train(out)
	assert.True(t, report.OK(), report)
	for _, check := range report {
		assert.Less(t, check.Err, 1e-6, check)
		assert.LessOrEqual(t, check.Torch, check.Limit, "PyTorch's float32 must pass too: %v", check)
	}
	assert.True(t, c.Infer(c.ref["infer.logits"].F32).OK())

	state := c.Weights()
	values := c.ref["steps.delta.values"].F32
	for _, p := range c.train {
		for i := range state[p.Timm] {
			state[p.Timm][i] += values[i]
		}
		values = values[p.Len():]
	}
	values = c.ref["steps.stats.values"].F32
	for _, p := range c.stats {
		state[p.Timm], values = values[:p.Len()], values[p.Len():]
	}
	report = c.Trained(c.ref["steps.losses"].F32, state)
	assert.True(t, report.OK(), report)
}

// TestEveryErrorIsSeen spoils one thing at a time.
func TestEveryErrorIsSeen(t *testing.T) {
	for name, spoil := range map[string]func(out *effnetv2.StepOutput){
		"logit":             func(out *effnetv2.StepOutput) { out.Logits = append([]float32{1}, out.Logits[1:]...) },
		"loss":              func(out *effnetv2.StepOutput) { out.Loss *= 1 + 3e-5 },
		"one element":       func(out *effnetv2.StepOutput) { g := out.Grads["conv_head.weight"]; g[7] = g[7] + 0.1 },
		"sign":              func(out *effnetv2.StepOutput) { negate(out.Grads["blocks.4.0.se.conv_reduce.weight"]) },
		"scale":             func(out *effnetv2.StepOutput) { scale(out.Grads["blocks.3.0.bn2.weight"], 1.01) },
		"NaN":               func(out *effnetv2.StepOutput) { out.Grads["bn1.bias"][0] = float32(math.NaN()) },
		"missing gradient":  func(out *effnetv2.StepOutput) { delete(out.Grads, "classifier.bias") },
		"zero gradient":     func(out *effnetv2.StepOutput) { out.Grads["blocks.5.2.bn3.bias"][0] = 1e-3 },
		"biased variance":   func(out *effnetv2.StepOutput) { scale(out.Buffers["blocks.5.2.bn3.running_var"], 0.99) },
		"missing statistic": func(out *effnetv2.StepOutput) { delete(out.Buffers, "bn2.running_mean") },
		"missing logits":    func(out *effnetv2.StepOutput) { out.Logits = nil },
		"all a little off": func(out *effnetv2.StepOutput) {
			for _, g := range out.Grads {
				scale(g, 1+5e-4) // below the limit of the worst, above that of the median
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, out := exact(t)
			spoil(out)
			assert.False(t, c.Train(out).OK())
		})
	}
}

func negate(x []float32) { scale(x, -1) }

func scale(x []float32, by float32) {
	for i := range x {
		x[i] *= by
	}
}

func TestLoadNamesTheCases(t *testing.T) {
	_, err := Load("xl")
	assert.ErrorContains(t, err, `no case "xl"`)
}
