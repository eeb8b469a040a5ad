package train

import (
	"fmt"
	"strconv"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/kernels"
)

// The learning-rate schedule of the published recipe: 0.016 for 256 images, times 0.97 every 2.4 of 350 epochs, after a
// warm-up of 5 epochs (google/automl efficientnetv2/hparams.py). A shorter run keeps the proportions.
const (
	recipeRate         = 0.016
	recipeEpochs       = 350
	recipeDecayEpochs  = 2.4
	recipeWarmupEpochs = 5
)

// Recipe says whose numbers are the defaults where the paper and the published program differ: in the stages.
type Recipe string

// The recipes.
const (
	RecipeCode  Recipe = "code"  // google/automl efficientnetv2 (datasets.py, main.py, hparams.py)
	RecipePaper Recipe = "paper" // arXiv:2104.00298, table 6
)

// firstSize is where both recipes' sizes grow from. The program's first stage is one step of that growth later.
const firstSize = 128

// regularisation is how strongly the last stage of a recipe regularises.
type regularisation struct {
	size                      int // 0: the network's training size
	magnitude, mixup, dropout float64
}

// The networks whose recipes differ; others regularise up to magnitude 10 without mixup.
var (
	codeStages = map[string]regularisation{
		"s": {0, 10, 0, 0.2}, "m": {0, 15, 0.2, 0.3}, "l": {0, 20, 0.5, 0.4}, "xl": {0, 20, 0.5, 0.4},
	}
	paperStages = map[string]regularisation{
		"s": {300, 15, 0, 0.3}, "m": {380, 20, 0.2, 0.4}, "l": {380, 25, 0.5, 0.5}, "xl": {380, 25, 0.5, 0.5},
	}
)

// DefaultConfig returns the published recipe of a network, RecipeCode if r is empty; for nano one that suits images of
// 28 to 64 pixels and minutes of training. It differs from the published one where that used what is not there yet: b0
// to b3 have RandAugment up to magnitude 10 instead of AutoAugment, and m, l and xl have mixup without cutmix.
func DefaultConfig(v effnetv2.Variant, r Recipe) (*Config, error) {
	c := &Config{
		Model: v.Name, Recipe: r, ValSplit: 0.1,
		Batch: 256, Epochs: recipeEpochs, Precision: "f32", Padding: "torch",
		StageCount: 4, TrainSize: v.TrainSize, FirstMagnitude: 5, Magnitude: 10, FirstDropout: v.Dropout, Dropout: v.Dropout,
		CropAreaMin: 0.05, CropAreaMax: 1, CropAspectMin: 0.75, CropAspectMax: 1.33, Flip: true, AugmentOps: 2,
		Mean: [3]float64{128. / 255, 128. / 255, 128. / 255}, Std: [3]float64{128. / 255, 128. / 255, 128. / 255},
		Optimizer: "rmsprop", Decay: DecayExponential, DecayRate: 0.97, WarmupEpochs: -1,
		Momentum: 0.9, Rho: 0.9, Epsilon: 1e-3, WeightDecay: 1e-5, EMADecay: 0.9999, Smoothing: 0.1, DropPath: v.DropPath,
		EvalSize: v.EvalSize, EvalCrop: CropCentre, EvalEvery: 1,
		LogEvery: 100, CheckpointEvery: 1, Keep: 3,
	}
	if v.EvalSize >= 320 {
		c.EvalCrop = CropSquash
	}
	switch v.Name {
	case "b0", "b1", "b2", "b3": // the V1 preprocessing
		c.CropAreaMin, c.CropAspectMax = 0.08, 4./3
		c.Mean, c.Std = [3]float64{0.485, 0.456, 0.406}, [3]float64{0.229, 0.224, 0.225}
	case "nano":
		// A step of 64 keeps a CPU's threads busy and still leaves about 100 steps an epoch with a few thousand images; 12 such
		// epochs take a minute and a half on two cores. The rate is twice the recipe's share of it: half and twice as much were
		// worse over so few steps. Cosine decay ends at 0 whatever the length.
		c.Batch, c.Epochs, c.LogEvery, c.EvalEvery = 64, 12, 10, 2
		c.LearningRate, c.Decay = 0.008, DecayCosine
		// From 28 on the maps of all stages are as large as in the last one or a pixel smaller; from 24 on accuracy on the
		// demo data was 4 points less, and half the final size would leave maps of one pixel in half of the blocks.
		c.StageCount, c.FirstSize = 3, 28
		// So small a network underfits rather than overfits, and nothing but crops and flips regularises it: RandAugment, whose
		// colour operations are strongest at small magnitudes, stochastic depth and dropout are off, crops keep most of a picture.
		c.AugmentOps, c.FirstMagnitude, c.Magnitude, c.DropPath, c.FirstDropout, c.Dropout = 0, 0, 0, 0, 0, 0
		c.CropAreaMin, c.TranslateSize, c.EvalCrop = 0.9, 224, CropSquash
		c.EMADecay = 0.99 // averages about an epoch
	}
	stages := codeStages
	switch r {
	case "":
		c.Recipe = RecipeCode
	case RecipeCode:
	case RecipePaper:
		stages, c.FirstDropout = paperStages, 0.1
	default:
		return nil, &ConfigError{"recipe", strconv.Quote(string(r)), "code or paper"}
	}
	if s, ok := stages[v.Name]; ok {
		c.Magnitude, c.Mixup, c.Dropout = s.magnitude, s.mixup, s.dropout
		if s.size != 0 {
			c.TrainSize = s.size
		}
	}
	return c, nil
}

// firstStageSize is the recipe's size of the first of m stages that end at size last: 128, or half of a last size below
// 192, where 128 would leave no growth; the published program begins one of its m steps later.
func (r Recipe) firstStageSize(m, last int) int {
	base := firstSize
	if last < 192 {
		base = (last + 1) / 2
	}
	if r == RecipePaper {
		return base
	}
	return base + (last-base)/m
}

// Resolve replaces what stands for the recipe's choice by its value, for a training set of n images, checks every
// setting, and returns the schedule. Errors: *ConfigError, or Plan.Check's.
func (c *Config) Resolve(n int) (*Plan, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Batch > n {
		return nil, &ConfigError{"batch", strconv.Itoa(c.Batch), fmt.Sprintf("at most the %d images of the training set", n)}
	}
	if c.FirstSize == 0 {
		c.FirstSize = c.Recipe.firstStageSize(c.StageCount, c.TrainSize)
	}
	if len(c.Stages) == 0 {
		c.Stages = Linear(c.StageCount,
			Stage{Size: c.FirstSize, Magnitude: c.FirstMagnitude, Mixup: c.FirstMixup, Dropout: c.FirstDropout},
			Stage{Size: c.TrainSize, Magnitude: c.Magnitude, Mixup: c.Mixup, Dropout: c.Dropout})
	}
	c.StageCount = len(c.Stages)
	if c.LearningRate == 0 {
		c.LearningRate = recipeRate * float64(c.Batch) / 256
	}
	if c.LossScale == 0 && c.Precision == kernels.F16.String() {
		c.LossScale = float64(kernels.NewLossScale(kernels.F16).Factor)
	}
	if c.DecayEpochs == 0 {
		c.DecayEpochs = recipeDecayEpochs * c.Epochs / recipeEpochs
	}
	if c.WarmupEpochs == -1 {
		c.WarmupEpochs = recipeWarmupEpochs * c.Epochs / recipeEpochs
	}
	if c.EvalBatch == 0 {
		c.EvalBatch = c.Batch
	}
	perEpoch := n / c.Batch
	p := &Plan{
		Steps: max(int(c.Epochs*float64(perEpoch)+0.5), 1), StepsPerEpoch: perEpoch, Stages: c.Stages,
		LR: LearningRate{Peak: c.LearningRate, Warmup: c.WarmupEpochs * float64(perEpoch), Decay: c.Decay, Rate: c.DecayRate,
			Every: c.DecayEpochs * float64(perEpoch)},
		EMADecay: c.EMADecay, DropPath: c.DropPath,
	}
	return p, p.Check()
}

// Augment returns how training images are drawn.
func (c *Config) Augment() *Augment {
	return &Augment{Seed: c.Seed, AreaMin: c.CropAreaMin, AreaMax: c.CropAreaMax, AspectMin: c.CropAspectMin,
		AspectMax: c.CropAspectMax, Flip: c.Flip, Ops: c.AugmentOps,
		TranslateSize: c.TranslateSize}
}

// check checks every setting by itself; comparisons are such that NaN fails them.
func (c *Config) check() error {
	share := func(x float64) bool { return x >= 0 && x < 1 }
	positive := func(x float64) bool { return x > 0 && x <= 1e30 }
	notNegative := func(x float64) bool { return x >= 0 && x <= 1e30 }
	elem, precisionErr := kernels.ParseElem(c.Precision)
	for _, r := range []struct {
		key  string
		ok   bool
		want string
	}{
		{"data", c.Data != "", wantData},
		{"val_split", share(c.ValSplit), "at least 0 and below 1"},
		{"batch", c.Batch >= 1, "at least 1"},
		{"epochs", positive(c.Epochs), "more than 0"},
		{"precision", precisionErr == nil, "f32, f16 or bf16"},
		{"loss_scale", c.LossScale == 0 || elem == kernels.F16 && isLossScale(c.LossScale), "0, or with f16 a power of 2 up to 16777216"},
		{"padding", c.Padding == "torch" || c.Padding == "same", "torch or same"},
		{"recipe", c.Recipe == RecipeCode || c.Recipe == RecipePaper, "code or paper"},
		{"stages", c.StageCount >= 1, "at least 1"},
		{"first_size", c.FirstSize >= 0, "at least 1, or 0"},
		{"train_size", c.TrainSize >= 1, "at least 1"},
		{"crop_area_min", share(c.CropAreaMin) || c.CropAreaMin == 1, "0 to 1"},
		{"crop_area_max", c.CropAreaMax >= c.CropAreaMin && c.CropAreaMax <= 1, "crop_area_min to 1"},
		{"crop_aspect_min", positive(c.CropAspectMin), "more than 0"},
		{"crop_aspect_max", c.CropAspectMax >= c.CropAspectMin && positive(c.CropAspectMax), "at least crop_aspect_min"},
		{"augment_ops", c.AugmentOps >= 0 && c.AugmentOps <= 2, "0 to 2"},
		{"translate_size", c.TranslateSize >= 0, "at least 0"},
		{"optimizer", c.Optimizer == "rmsprop" || c.Optimizer == "sgd", "rmsprop or sgd"},
		{"learning_rate", notNegative(c.LearningRate), "at least 0"},
		{"decay", c.Decay == DecayExponential || c.Decay == DecayCosine || c.Decay == DecayConstant, "exponential, cosine or constant"},
		{"decay_rate", c.DecayRate > 0 && c.DecayRate <= 1, "more than 0 and at most 1"},
		{"decay_epochs", notNegative(c.DecayEpochs), "at least 0"},
		{"warmup_epochs", c.WarmupEpochs == -1 || notNegative(c.WarmupEpochs), "at least 0, or -1"},
		{"momentum", share(c.Momentum), "at least 0 and below 1"},
		{"rho", share(c.Rho), "at least 0 and below 1"},
		{"epsilon", positive(c.Epsilon), "more than 0"},
		{"weight_decay", notNegative(c.WeightDecay), "at least 0"},
		{"clip_norm", notNegative(c.ClipNorm), "at least 0"},
		{"ema_decay", share(c.EMADecay), "at least 0 and below 1"},
		{"label_smoothing", share(c.Smoothing), "at least 0 and below 1"},
		{"drop_path", share(c.DropPath), "at least 0 and below 1"},
		{"eval_size", c.EvalSize >= 1, "at least 1"},
		{"eval_crop", c.EvalCrop.Check() == nil, "centre or squash"},
		{"eval_batch", c.EvalBatch >= 0, "at least 0"},
		{"eval_every", notNegative(c.EvalEvery), "at least 0"},
		{"log_every", c.LogEvery >= 1, "at least 1"},
		{"checkpoint_every", notNegative(c.CheckpointEvery), "at least 0"},
		{"keep", c.Keep >= 1, "at least 1"},
	} {
		if !r.ok {
			got, err := c.Get(r.key)
			if err != nil {
				return err
			}
			return &ConfigError{r.key, strconv.Quote(got), r.want}
		}
	}
	for i := range 3 {
		if !(c.Std[i] > 0) || !(c.Mean[i] >= -1e30 && c.Mean[i] <= 1e30) {
			return &ConfigError{"mean, std", fmt.Sprint(c.Mean, c.Std), "finite means and deviations above 0"}
		}
	}
	return nil
}
