package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/layers"
)

// require makes flags obligatory.
func require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic("vkeffnet: internal error: " + err.Error())
		}
	}
}

func modelFlag(f *pflag.FlagSet, p *string, value string) {
	var names []string
	for _, v := range effnetv2.All() {
		names = append(names, v.Name)
	}
	f.StringVar(p, "model", value, "`name` of the model: "+strings.Join(names, ", "))
}

// variant returns the model of that name; another name is wrong usage.
func variant(name string) (effnetv2.Variant, error) {
	v, err := effnetv2.ByName(name)
	if err != nil {
		return v, &usageError{err}
	}
	return v, nil
}

// modeValue is the flag --mode.
type modeValue struct{ p *layers.Mode }

func modeFlag(f *pflag.FlagSet, p *layers.Mode) {
	f.Var(modeValue{p}, "mode", "infer: running statistics, forward only; train: batch statistics, forward and backward")
}

func (m modeValue) String() string {
	if m.p == nil {
		return ""
	}
	return m.p.String()
}

func (m modeValue) Type() string { return "mode" }

func (m modeValue) Set(s string) error {
	for _, mode := range []layers.Mode{layers.Train, layers.Infer} {
		if s == mode.String() {
			*m.p = mode
			return nil
		}
	}
	return fmt.Errorf("want train or infer")
}

func parsePadding(s string) (kernels.Padding, error) {
	switch s {
	case "torch":
		return kernels.PadTorch, nil
	case "same":
		return kernels.PadSame, nil
	}
	return 0, usagef("--padding: got %q, want torch or same", s)
}

// precisionFlag is the flag --precision.
func precisionFlag(f *pflag.FlagSet, p *string) {
	f.StringVar(p, "precision", "f32", "how activations are stored: f32, f16 or bf16; arithmetic and weights are f32")
}

func parsePrecision(s string) (kernels.Elem, error) {
	e, err := kernels.ParseElem(s)
	if err != nil {
		return e, usagef("--precision: got %q, want f32, f16 or bf16", s)
	}
	return e, nil
}
