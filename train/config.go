package train

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
)

// Config is everything that can be set of a training run: the keys of the TOML file, and the flags of the same names.
// Start from DefaultConfig or LoadConfig. A 0 that says "recipe" stands for a number that depends on others; Resolve
// puts that number in its place.
type Config struct {
	Model    string  `toml:"model" help:"network: nano, b0 to b3, s, m, l, xl"`
	Recipe   Recipe  `toml:"recipe" help:"whose defaults: code (the published program) or paper"`
	Data     string  `toml:"data" help:"training data: a folder of class folders, idx:DIR or demo"`
	Out      string  `toml:"out" help:"folder to write to" resume:"free"`
	Weights  string  `toml:"weights" help:"weights to start from; empty: random ones"`
	ValSplit float64 `toml:"val_split" help:"share of each class held out where the data has no validation part"`
	Seed     uint64  `toml:"seed" help:"fixes every random choice"`

	Batch     int     `toml:"batch" help:"images a step"`
	Epochs    float64 `toml:"epochs" help:"passes over the training data"`
	Precision string  `toml:"precision" help:"how activations are stored: f32, f16 or bf16; weights and arithmetic are f32"`
	LossScale float64 `toml:"loss_scale" help:"f16: the loss scale to begin with; 0: 65536"`
	Padding   string  `toml:"padding" help:"of strided convolutions: torch or same (TensorFlow's)"`

	StageCount     int     `toml:"stages" help:"stages of progressive learning; from the first to the last all grow linearly"`
	FirstSize      int     `toml:"first_size" help:"size of the training images in the first stage; 0: the recipe's"`
	TrainSize      int     `toml:"train_size" help:"size of the training images in the last stage"`
	FirstMagnitude float64 `toml:"first_magnitude" help:"of RandAugment in the first stage; 5 leaves colours as they are and less does not"`
	Magnitude      float64 `toml:"magnitude" help:"of RandAugment in the last stage, on the paper's scale"`
	FirstMixup     float64 `toml:"first_mixup" help:"alpha of mixup in the first stage; 0: none"`
	Mixup          float64 `toml:"mixup" help:"alpha of mixup in the last stage; 0: none"`
	FirstDropout   float64 `toml:"first_dropout" help:"before the classifier, in the first stage"`
	Dropout        float64 `toml:"dropout" help:"before the classifier, in the last stage"`
	Stages         []Stage `toml:"stage"` // explicit; replaces what the keys above say

	CropAreaMin   float64 `toml:"crop_area_min" help:"least share of the image that a crop keeps; 0: no crop"`
	CropAreaMax   float64 `toml:"crop_area_max" help:"largest share of the image that a crop keeps"`
	CropAspectMin float64 `toml:"crop_aspect_min" help:"least width / height of a crop"`
	CropAspectMax float64 `toml:"crop_aspect_max" help:"largest width / height of a crop"`
	Flip          bool    `toml:"flip" help:"mirror half of the training images"`
	AugmentOps    int     `toml:"augment_ops" help:"RandAugment operations an image, 0 to 2"`
	TranslateSize int     `toml:"translate_size" help:"image size at which RandAugment moves by 10 pixels a unit of magnitude, in proportion at others; 0: at all"`

	Mean [3]float64 `toml:"mean"` // of red, green, blue on a scale of 0 to 1: the input is (x/255 - mean)/std
	Std  [3]float64 `toml:"std"`

	Optimizer    string  `toml:"optimizer" help:"rmsprop or sgd"`
	LearningRate float64 `toml:"learning_rate" help:"peak; 0: the recipe's, times batch/256" resume:"free"`
	Decay        Decay   `toml:"decay" help:"of the learning rate: exponential, cosine or constant"`
	DecayRate    float64 `toml:"decay_rate" help:"exponential decay: factor"`
	DecayEpochs  float64 `toml:"decay_epochs" help:"exponential decay: epochs between factors; 0: the recipe's share of the run"`
	WarmupEpochs float64 `toml:"warmup_epochs" help:"epochs of linear warm-up; -1: the recipe's share of the run"`
	Momentum     float64 `toml:"momentum" help:"of the optimizer"`
	Nesterov     bool    `toml:"nesterov" help:"sgd: Nesterov's form"`
	Rho          float64 `toml:"rho" help:"rmsprop: decay of the mean square"`
	Epsilon      float64 `toml:"epsilon" help:"rmsprop: added inside the root"`
	WeightDecay  float64 `toml:"weight_decay" help:"of convolution and classifier weights"`
	ClipNorm     float64 `toml:"clip_norm" help:"largest global gradient norm; 0: no clipping" resume:"free"`
	EMADecay     float64 `toml:"ema_decay" help:"largest decay of the weights' moving average"`
	Smoothing    float64 `toml:"label_smoothing" help:"share of the target spread over all classes"`
	DropPath     float64 `toml:"drop_path" help:"stochastic depth: block i of n is dropped with this times i/n"`

	EvalSize  int      `toml:"eval_size" help:"size of the evaluation images"`
	EvalCrop  EvalCrop `toml:"eval_crop" help:"centre or squash"`
	EvalBatch int      `toml:"eval_batch" help:"images a step of an evaluation; 0: as in training"`
	EvalEvery float64  `toml:"eval_every" help:"epochs between evaluations; 0: at the ends of stages only" resume:"free"`

	LogEvery        int     `toml:"log_every" help:"steps between lines of metrics.jsonl" resume:"free"`
	CheckpointEvery float64 `toml:"checkpoint_every" help:"epochs between checkpoints; 0: at the ends of stages only" resume:"free"`
	Keep            int     `toml:"keep" help:"checkpoints kept beside the best and one a stage" resume:"free"`
	Workers         int     `toml:"workers" help:"threads that decode images; 0: one a processor" resume:"free"`

	Run *RunInfo `toml:"run,omitempty"` // what made this file; not read back
}

// RunInfo records where a resolved configuration was used.
type RunInfo struct {
	Version string `toml:"version"` // of vkeffnet
	Go      string `toml:"go"`
	Device  string `toml:"device"`
	Driver  string `toml:"driver"`
	Tuned   bool   `toml:"tuned"` // kernel variants as in tuning.json; false: as the program ships them
}

// KeyError reports a key that no setting has. Known lists the keys there are, for a suggestion.
type KeyError struct {
	File  string // empty: not from a file
	Line  int
	Key   string
	Known []string
}

func (e *KeyError) Error() string {
	if e.File == "" {
		return fmt.Sprintf("train: got unknown setting %q", e.Key)
	}
	return fmt.Sprintf("train: %s:%d: got unknown key %q", e.File, e.Line, e.Key)
}

// ConfigError reports a setting with a value that it cannot have.
type ConfigError struct{ Key, Got, Want string }

func (e *ConfigError) Error() string {
	return fmt.Sprintf("train: %s is %s, want %s", e.Key, e.Got, e.Want)
}

// LoadConfig returns the defaults of the model that is asked for, changed by the keys of a TOML file (none if file is
// empty), changed by set, whose keys are those of the file and whose values are as in Config.Set. The model is that
// of set, else of the file, else nano for the demo data and s otherwise. A key of set that shapes the stages replaces
// the file's [[stage]] tables. It checks nothing beyond each value's form:
// that is Resolve's. Errors: *KeyError, *ConfigError, *effnetv2.NameError, *os.PathError.
func LoadConfig(file string, set map[string]string) (*Config, error) {
	var data []byte
	var named struct {
		Model, Data string
		Recipe      Recipe
	}
	if file != "" {
		var err error
		if data, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("train: %w", err)
		}
		if err := toml.Unmarshal(data, &named); err != nil {
			return nil, tomlError(file, err)
		}
	}
	if m, ok := set["model"]; ok {
		named.Model = m
	}
	if d, ok := set["data"]; ok {
		named.Data = d
	}
	if r, ok := set["recipe"]; ok {
		named.Recipe = Recipe(r)
	}
	if named.Model == "" {
		named.Model = "s"
		if named.Data == "demo" {
			named.Model = "nano"
		}
	}
	v, err := effnetv2.ByName(named.Model)
	if err != nil {
		return nil, err
	}
	c, err := DefaultConfig(v, named.Recipe)
	if err != nil {
		return nil, err
	}
	if err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(c); err != nil {
		return nil, tomlError(file, err)
	}
	for key, value := range set {
		if err := c.Set(key, value); err != nil {
			return nil, err
		}
		if stageKeys[key] {
			c.Stages = nil // the file's stages, which would hide what was asked for
		}
	}
	c.Model, c.Run = v.Name, nil
	return c, nil
}

// stageKeys are the settings that [[stage]] tables stand for in more detail.
var stageKeys = map[string]bool{"stages": true, "first_size": true, "train_size": true, "first_magnitude": true,
	"magnitude": true, "first_mixup": true, "mixup": true, "first_dropout": true, "dropout": true}

// tomlError turns the decoder's errors into ours.
func tomlError(file string, err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		first := strict.Errors[0]
		line, _ := first.Position()
		key := first.Key()
		return &KeyError{File: file, Line: line, Key: strings.Join(key, "."), Known: knownKeys(key)}
	}
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		line, _ := decode.Position()
		return fmt.Errorf("train: %s:%d: %w", file, line, err)
	}
	return fmt.Errorf("train: %s: %w", file, err)
}

// knownKeys lists the keys that may stand where key stands.
func knownKeys(key []string) []string {
	t := reflect.TypeFor[Config]()
	prefix := ""
	if len(key) > 1 && key[0] == "stage" {
		t, prefix = reflect.TypeFor[Stage](), "stage."
	}
	var known []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("toml"), ",")
		known = append(known, prefix+name)
	}
	return known
}

// Setting describes one key that a flag can set.
type Setting struct{ Key, Help string }

// Settings lists the keys with a value of one word, in the order of Config.
func Settings() []Setting {
	var out []Setting
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("help") != "" {
			out = append(out, Setting{f.Tag.Get("toml"), f.Tag.Get("help")})
		}
	}
	return out
}

// field returns the field of a key that Settings lists.
func (c *Config) field(key string) (reflect.Value, error) {
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("toml") == key && f.Tag.Get("help") != "" {
			return reflect.ValueOf(c).Elem().Field(i), nil
		}
	}
	var known []string
	for _, s := range Settings() {
		known = append(known, s.Key)
	}
	return reflect.Value{}, &KeyError{Key: key, Known: known}
}

// Get returns the value of a key as Set takes it.
func (c *Config) Get(key string) (string, error) {
	f, err := c.field(key)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(f.Interface()), nil
}

// Set gives a key the value that a text stands for. Errors: *KeyError, *ConfigError.
func (c *Config) Set(key, text string) error {
	f, err := c.field(key)
	if err != nil {
		return err
	}
	want := "a number"
	switch f.Kind() {
	case reflect.String:
		f.SetString(text)
	case reflect.Bool:
		var v bool
		v, err = strconv.ParseBool(text)
		f.SetBool(v)
		want = "true or false"
	case reflect.Int:
		var v int64
		v, err = strconv.ParseInt(text, 10, strconv.IntSize)
		f.SetInt(v)
		want = "a whole number"
	case reflect.Uint64:
		var v uint64
		v, err = strconv.ParseUint(text, 0, 64)
		f.SetUint(v)
		want = "a whole number of at least 0"
	case reflect.Float64:
		var v float64
		v, err = strconv.ParseFloat(text, 64)
		f.SetFloat(v)
	default:
		panic("train: internal error: setting " + key + " is a " + f.Kind().String())
	}
	if err != nil {
		return &ConfigError{key, strconv.Quote(text), want}
	}
	return nil
}

// Differences lists the keys in which two configurations differ such that a run begun with one cannot go on with the
// other.
func (c *Config) Differences(d *Config) []string {
	var out []string
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Tag.Get("resume") == "free" || f.Name == "Run" {
			continue
		}
		if !reflect.DeepEqual(reflect.ValueOf(c).Elem().Field(i).Interface(), reflect.ValueOf(d).Elem().Field(i).Interface()) {
			out = append(out, f.Tag.Get("toml"))
		}
	}
	return out
}

// resumeError says that a run begun with the configuration old cannot go on with c, for the key in which they differ.
func (c *Config) resumeError(old *Config, key string) error {
	got, err := c.Get(key)
	if err != nil { // a key with more than one value
		return &ConfigError{key, "another value than the run in " + c.Out + " began with", "the same for --resume"}
	}
	want, err := old.Get(key)
	if err != nil {
		return err
	}
	return &ConfigError{key, strconv.Quote(got), strconv.Quote(want) + " for --resume, as the run in " + c.Out + " began with"}
}

// Write puts the configuration into a TOML file, beside, synced and renamed.
func (c *Config) Write(file string) error {
	data, err := toml.Marshal(c)
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	return writeFileAtomic(file, data)
}
