package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/train"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// app holds the streams and the flags that every command has.
type app struct {
	stdout, stderr io.Writer

	device    string
	noCoopmat bool
	noF16     bool
	noTune    bool
	noFuse    bool
	validate  bool
	logLevel  string
}

// addFlags declares the flags of every command. Each has an environment variable: VKEFFNET_ and the flag's name.
func (a *app) addFlags(f *pflag.FlagSet) {
	f.StringVar(&a.device, "device", "", "`index`, part of the name, or UUID; default: discrete before integrated before CPU")
	f.BoolVar(&a.noCoopmat, "no-coopmat", false, "first aid: no cooperative matrices")
	f.BoolVar(&a.noF16, "no-f16", false, "first aid: no 16-bit floats")
	f.BoolVar(&a.noTune, "no-tune", false, "first aid: choose kernel variants by fixed rules, not by timing")
	f.BoolVar(&a.noFuse, "no-fuse", false, "first aid: batch norm, activation and gate in passes of their own")
	f.BoolVar(&a.validate, "validate", false, "run under the Vulkan validation layer; its messages are errors")
	f.StringVar(&a.logLevel, "log-level", "warn", "`level`: debug, info, warn or error")
}

// envName is the environment variable of a flag of every command.
func envName(flag string) string {
	return "VKEFFNET_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// readEnv sets the flags that the command line left alone from the environment.
func readEnv(cmd *cobra.Command) error {
	var errs []error
	cmd.Root().PersistentFlags().VisitAll(func(f *pflag.Flag) {
		value, ok := os.LookupEnv(envName(f.Name))
		if !ok || value == "" || f.Changed {
			return
		}
		if err := f.Value.Set(value); err != nil {
			errs = append(errs, usagef("%s=%q: want what --%s takes, a %s", envName(f.Name), value, f.Name, f.Value.Type()))
		}
	})
	return errors.Join(errs...)
}

// logger writes to stderr from the level of --log-level on.
func (a *app) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return nil, usagef("--log-level: got %q, want debug, info, warn or error", a.logLevel)
	}
	return slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level})), nil
}

// deviceOptions are the options with which the flags open a device.
func (a *app) deviceOptions() (*vk.Options, error) {
	log, err := a.logger()
	if err != nil {
		return nil, err
	}
	o := &vk.Options{Device: a.device, Validate: a.validate, Log: log}
	if a.noCoopmat {
		o.Disable = append(o.Disable, "VK_KHR_cooperative_matrix", "VK_NV_cooperative_matrix2")
	}
	if a.noF16 {
		o.Disable = append(o.Disable, "shaderFloat16", "storageBuffer16BitAccess")
	}
	return o, nil
}

// open opens the device that the flags ask for.
func (a *app) open() (*vk.Device, error) {
	o, err := a.deviceOptions()
	if err != nil {
		return nil, err
	}
	return vk.Open(o)
}

// compiling shows on stderr how far compiling is, if that is a terminal; quiet: not.
func (a *app) compiling(quiet bool) *train.Compiling {
	if quiet {
		return nil
	}
	return train.NewCompiling(a.stderr)
}

// openTuner opens the device's tuner, which shows on stderr how far it is; quiet: not. It is nil with --no-tune.
func (a *app) openTuner(dev *vk.Device, quiet bool) (*kernels.Tuner, error) {
	if a.noTune {
		return nil, nil
	}
	log, err := a.logger()
	if err != nil {
		return nil, err
	}
	o := &kernels.TunerOptions{Log: log}
	if !quiet {
		o.Progress = train.TuneProgress(a.stderr)
	}
	return kernels.OpenTuner(dev, o), nil
}

// printJSON writes v as one line.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}
