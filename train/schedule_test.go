package train_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/train"
)

func sizes(stages []train.Stage) (s []int) {
	for _, stage := range stages {
		s = append(s, stage.Size)
	}
	return s
}

// TestRecipeStages compares with what google/automl's program prints for ImageNet, and with the paper's table 6.
func TestRecipeStages(t *testing.T) {
	for _, row := range []struct {
		model      string
		recipe     train.Recipe
		sizes      []int
		magnitudes []float64
		mixups     []float64
		dropouts   []float64
	}{
		{"s", "", []int{171, 214, 257, 300}, []float64{5, 6.67, 8.33, 10}, []float64{0, 0, 0, 0}, []float64{0.2, 0.2, 0.2, 0.2}},
		{"m", "code", []int{192, 256, 320, 384}, []float64{5, 8.33, 11.67, 15}, []float64{0, 0.067, 0.133, 0.2}, []float64{0.3, 0.3, 0.3, 0.3}},
		{"l", "code", []int{192, 256, 320, 384}, []float64{5, 10, 15, 20}, []float64{0, 0.167, 0.333, 0.5}, []float64{0.4, 0.4, 0.4, 0.4}},
		{"b0", "code", []int{144, 160, 176, 192}, []float64{5, 6.67, 8.33, 10}, []float64{0, 0, 0, 0}, []float64{0.2, 0.2, 0.2, 0.2}},
		{"b2", "code", []int{148, 168, 188, 208}, nil, nil, nil},
		{"b3", "code", []int{156, 184, 212, 240}, nil, nil, nil},
		{"s", "paper", []int{128, 185, 242, 300}, []float64{5, 8.33, 11.67, 15}, []float64{0, 0, 0, 0}, []float64{0.1, 0.167, 0.233, 0.3}},
		{"m", "paper", []int{128, 212, 296, 380}, []float64{5, 10, 15, 20}, []float64{0, 0.067, 0.133, 0.2}, []float64{0.1, 0.2, 0.3, 0.4}},
		{"xl", "paper", []int{128, 212, 296, 380}, []float64{5, 11.67, 18.33, 25}, []float64{0, 0.167, 0.333, 0.5}, []float64{0.1, 0.233, 0.367, 0.5}},
	} {
		t.Run(row.model+"/"+string(row.recipe), func(t *testing.T) {
			v, err := effnetv2.ByName(row.model)
			require.NoError(t, err)
			c, err := train.DefaultConfig(v, row.recipe)
			require.NoError(t, err)
			c.Data, c.Batch = "x", 4096
			p, err := c.Resolve(1281167)
			require.NoError(t, err)
			assert.Equal(t, row.sizes, sizes(p.Stages))
			for i := range row.magnitudes {
				assert.InDelta(t, row.magnitudes[i], p.Stages[i].Magnitude, 0.005)
				assert.InDelta(t, row.mixups[i], p.Stages[i].Mixup, 0.0005)
				assert.InDelta(t, row.dropouts[i], p.Stages[i].Dropout, 0.0005)
			}
		})
	}
}

// TestRecipeLearningRate follows the published schedule: batch 4096, 350 epochs.
func TestRecipeLearningRate(t *testing.T) {
	c, err := train.DefaultConfig(effnetv2.S, train.RecipeCode)
	require.NoError(t, err)
	c.Data, c.Batch = "x", 4096
	p, err := c.Resolve(1256144)
	require.NoError(t, err)
	per := p.StepsPerEpoch
	assert.Equal(t, 306, per)
	assert.Equal(t, 350*306, p.Steps)
	assert.InDelta(t, 0.256, p.LR.Peak, 1e-12)
	assert.InDelta(t, 0.256/(5*306), p.At(0).LR, 1e-12)
	assert.InDelta(t, 0.256/2, p.At(5*306/2-1).LR, 1e-12)
	assert.InDelta(t, 0.256, p.At(5*306-1).LR, 1e-12)
	assert.InDelta(t, 0.256*0.97*0.97, p.At(5*306).LR, 1e-12, "the staircase has counted since step 0")
	last := p.Steps - 1
	assert.InDelta(t, 0.256*math.Pow(0.97, math.Floor(float64(last)/(2.4*306))), p.At(last).LR, 1e-12)
}

func TestLearningRateKinds(t *testing.T) {
	cosine := train.LearningRate{Peak: 2, Warmup: 10, Decay: train.DecayCosine}
	assert.InDelta(t, 2, cosine.At(10, 110), 1e-12)
	assert.InDelta(t, 1, cosine.At(60, 110), 1e-12)
	assert.InDelta(t, 0, cosine.At(110, 110), 1e-12)
	constant := train.LearningRate{Peak: 2, Decay: train.DecayConstant}
	assert.InDelta(t, 2, constant.At(0, 5), 0)
	fraction := train.LearningRate{Peak: 2, Warmup: 0.5, Decay: train.DecayConstant}
	assert.InDelta(t, 2, fraction.At(0, 5), 0, "never above the peak")
}

func TestEMADecay(t *testing.T) {
	p := train.Plan{Steps: 1e6, StepsPerEpoch: 10, Stages: []train.Stage{{End: 1, Size: 8}}, EMADecay: 0.9999}
	assert.InDelta(t, 0.1, p.At(0).EMADecay, 1e-15)
	assert.InDelta(t, 101./110, p.At(100).EMADecay, 1e-15)
	assert.InDelta(t, 0.9999, p.At(999999).EMADecay, 0)
}

// TestPlan checks for any plan that the stages part the run, in order, and that their ends are the given ones.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.IntRange(1, 6).Draw(t, "stages")
		first := rapid.IntRange(1, 100).Draw(t, "first")
		last := first + rapid.IntRange(0, 200).Draw(t, "growth")
		p := train.Plan{
			Steps: rapid.IntRange(1, 500).Draw(t, "steps"), StepsPerEpoch: rapid.IntRange(1, 50).Draw(t, "per epoch"),
			Stages: train.Linear(m, train.Stage{Size: first}, train.Stage{Size: last, Magnitude: 30, Mixup: 1, Dropout: 0.9}),
			LR:     train.LearningRate{Peak: 1, Warmup: 3.5, Decay: train.DecayCosine},
		}
		require.NoError(t, p.Check())
		assert.Equal(t, last, p.Stages[m-1].Size)
		assert.Equal(t, last, p.MaxSize())
		next := 0
		for i := range m {
			begin, end := p.Bounds(i)
			assert.Equal(t, next, begin)
			assert.Equal(t, (i+1)*p.Steps/m, end)
			next = end
		}
		assert.Equal(t, p.Steps, next)
		before := p.At(0)
		for step := range p.Steps {
			at := p.At(step)
			begin, end := p.Bounds(at.Stage)
			assert.True(t, begin <= step && step < end)
			assert.GreaterOrEqual(t, at.Size, before.Size)
			assert.GreaterOrEqual(t, at.Dropout, before.Dropout)
			assert.InDelta(t, float64(step)/float64(p.StepsPerEpoch), at.Epoch, 0)
			before = at
		}
	})
}

func TestPlanCheck(t *testing.T) {
	ok := train.Stage{End: 1, Size: 8}
	for want, p := range map[string]train.Plan{
		"plan of 0 steps":              {StepsPerEpoch: 1, Stages: []train.Stage{ok}},
		"without stages":               {Steps: 1, StepsPerEpoch: 1},
		"the last stage ends at 0.5":   {Steps: 1, StepsPerEpoch: 1, Stages: []train.Stage{{End: 0.5, Size: 8}}},
		"stage 2 ends at 1 of the run": {Steps: 1, StepsPerEpoch: 1, Stages: []train.Stage{ok, ok}},
		"images of size 0":             {Steps: 1, StepsPerEpoch: 1, Stages: []train.Stage{{End: 1}}},
		"RandAugment magnitude NaN":    {Steps: 1, StepsPerEpoch: 1, Stages: []train.Stage{{End: 1, Size: 8, Magnitude: math.NaN()}}},
		"mixup alpha -1":               {Steps: 1, StepsPerEpoch: 1, Stages: []train.Stage{{End: 1, Size: 8, Mixup: -1}}},
		"dropout 1, want at least 0":   {Steps: 1, StepsPerEpoch: 1, Stages: []train.Stage{{End: 1, Size: 8, Dropout: 1}}},
	} {
		assert.ErrorContains(t, p.Check(), want)
	}
}
