package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/suggest"
	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/train"
)

func newTrain(a *app) *cobra.Command {
	var file string
	var resume, asJSON bool
	set := settings{}
	cmd := &cobra.Command{
		Use:   "train --data D --out RUN",
		Short: "train a network with the progressive recipe",
		Long: `train trains a network from images of growing size, with regularisation that grows along
(EfficientNetV2's progressive learning). Everything can be set by flags or by the keys of the same
names in a TOML file; flags win. A 0 that stands for the recipe's choice is replaced by it in
RUN/config.toml.

RUN gets config.toml, metrics.jsonl, checkpoints/, plots/, best.safetensors and last.safetensors.
Ctrl-C finishes the step, writes a checkpoint and says how to go on; a second Ctrl-C stops at once.`,
		Example: `  vkeffnet train --data demo --model nano --out RUN
  vkeffnet train --data photos --model b0 --out RUN --batch 32 --epochs 30
  vkeffnet train --config recipe.toml --data photos --out RUN --seed 7
  vkeffnet train --resume --out RUN`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&file, "config", "", "TOML `file` of settings")
	f.BoolVar(&resume, "resume", false, "go on with the run in --out from its last checkpoint")
	f.BoolVar(&asJSON, "json", false, "end with one JSON object on stdout")
	if err := set.addFlags(f); err != nil {
		panic("vkeffnet: internal error: " + err.Error())
	}
	cmd.RunE = begin(func(ctx context.Context, _ []string) error {
		out := set.values["out"]
		if resume && file == "" && out != "" {
			file = filepath.Join(out, "config.toml")
		}
		cfg, err := train.LoadConfig(file, set.values)
		if err != nil {
			return settingError(err)
		}
		if cfg.Out == "" {
			return usagef("--out: got nothing, want the folder to write to")
		}
		if cfg.Data == "" {
			return withHint(usagef("--data: got nothing, want the training data"), "--data demo trains on a small data set inside the program")
		}
		return a.train(ctx, cfg, resume, asJSON)
	})
	return cmd
}

// train runs a training and prints its result.
func (a *app) train(ctx context.Context, cfg *train.Config, resume, asJSON bool) error {
	log, err := a.logger()
	if err != nil {
		return err
	}
	ctx, interrupt, stop := twoInterrupts(ctx)
	defer stop()
	dev, err := a.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	tuner, err := a.openTuner(dev, asJSON)
	if err != nil {
		return err
	}
	r, err := train.Run(ctx, dev, cfg, &train.RunOptions{Resume: resume, NoFuse: a.noFuse, Tuner: tuner, Log: log, Progress: a.stderr, Stop: interrupt})
	if err != nil {
		if errors.Is(err, train.ErrStopped) {
			return withHint(err, "go on with: vkeffnet train --resume --out "+cfg.Out)
		}
		return settingError(err)
	}
	if asJSON {
		return a.printJSON(r)
	}
	if err := a.printCurves(cfg.Out); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "top-1 %.2f%%, of the averaged weights %.2f%%, after %d steps in %.0f s; weights in %s\n",
		100*r.Top1, 100*r.EMATop1, r.Steps, r.Seconds, r.Weights)
	return err
}

// printCurves draws a run's loss and accuracy.
func (a *app) printCurves(out string) error {
	steps, evals, err := train.ReadMetrics(filepath.Join(out, "metrics.jsonl"))
	if err != nil {
		return err
	}
	var x, y []float64
	for _, r := range steps {
		x, y = append(x, r.Epoch), append(y, float64(r.Loss))
	}
	fmt.Fprint(a.stdout, train.Curve("training loss by epoch", x, y, 78, 10))
	x, y = nil, nil
	for _, r := range evals {
		x, y = append(x, r.Epoch), append(y, 100*max(float64(r.Top1), float64(r.EMATop1)))
	}
	_, err = fmt.Fprint(a.stdout, train.Curve("top-1 on held-out images in % by epoch", x, y, 78, 8))
	return err
}

// twoInterrupts returns a channel that is closed by the first Ctrl-C and a context that the second one cancels.
func twoInterrupts(parent context.Context) (ctx context.Context, first <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt)
	asked, done := make(chan struct{}), make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case <-signals:
				if n == 0 {
					close(asked)
				} else {
					cancel()
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, asked, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}

// settings are the flags that stand for keys of train.Config; values has those that were given.
type settings struct{ values map[string]string }

// addFlags declares a flag for every setting, - for _ in its name; the defaults shown are those of model s.
func (s *settings) addFlags(f *pflag.FlagSet) error {
	s.values = map[string]string{}
	defaults, err := train.DefaultConfig(effnetv2.S, "")
	if err != nil {
		return err
	}
	for _, setting := range train.Settings() {
		def, err := defaults.Get(setting.Key)
		if err != nil {
			return err
		}
		flag := f.VarPF(&settingFlag{values: s.values, key: setting.Key}, strings.ReplaceAll(setting.Key, "_", "-"), "", setting.Help)
		if def == "true" || def == "false" {
			flag.NoOptDefVal = "true"
		}
	}
	return nil
}

// settingFlag is the flag of one setting.
type settingFlag struct {
	values map[string]string
	key    string
}

func (s *settingFlag) String() string { return s.values[s.key] }
func (s *settingFlag) Type() string   { return "" }
func (s *settingFlag) Set(text string) error {
	var c train.Config
	if err := c.Set(s.key, text); err != nil {
		return err
	}
	s.values[s.key] = text
	return nil
}

// settingError makes wrong settings wrong usage, and names the key that was probably meant.
func settingError(err error) error {
	var key *train.KeyError
	var value *train.ConfigError
	var name *effnetv2.NameError
	switch {
	case errors.As(err, &key):
		return withHint(&usageError{err}, suggest.Hint(key.Key, key.Known, "the keys are: "+strings.Join(key.Known, ", ")))
	case errors.As(err, &value), errors.As(err, &name):
		return &usageError{err}
	}
	return err
}
