package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/table"
	"github.com/seed-8d806880/vkeffnet/effnetv2"
)

// imageNetClasses is the number of classes for which published parameter counts and MACs hold.
const imageNetClasses = 1000

// modelJSON is one variant of models --json. MACs are multiply-adds of one forward pass at the evaluation size.
type modelJSON struct {
	Name            string   `json:"name"`
	LongName        string   `json:"long_name"`
	Params          int64    `json:"params"`
	ParamsWithStats int64    `json:"params_with_stats"`
	MACs            int64    `json:"macs"`
	TrainSize       int      `json:"train_size"`
	EvalSize        int      `json:"eval_size"`
	Top1            *float64 `json:"top1"`
}

func newModels(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "models [--json]",
		Short: "list every variant: parameters, multiply-adds, image sizes, published top-1",
		Long: `models lists every variant with a head for 1000 classes. MACs are the multiply-adds of one
forward pass at the evaluation size; top-1 is the published ImageNet-1k accuracy in percent
of training on ImageNet-1k alone.`,
		Example: "  vkeffnet models\n  vkeffnet models --json | jq -r '.models[].name'",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.RunE = do(func(context.Context, []string) error {
		list := []modelJSON{}
		for _, v := range effnetv2.All() {
			m := modelJSON{Name: v.Name, LongName: v.LongName, MACs: v.MACs(v.EvalSize, v.EvalSize, imageNetClasses),
				TrainSize: v.TrainSize, EvalSize: v.EvalSize}
			m.Params, m.ParamsWithStats = v.ParamCount(imageNetClasses)
			if v.Top1 != 0 {
				m.Top1 = &v.Top1
			}
			list = append(list, m)
		}
		if asJSON {
			return a.printJSON(map[string]any{"models": list})
		}
		t := table.New("NAME", "LONG NAME", ">PARAMETERS", ">WITH STATISTICS", ">MACS", ">TRAIN SIZE", ">EVAL SIZE", ">TOP-1")
		for _, m := range list {
			top1 := "-"
			if m.Top1 != nil {
				top1 = strconv.FormatFloat(*m.Top1, 'f', 1, 64)
			}
			t.Add(m.Name, m.LongName, table.Group(m.Params), table.Group(m.ParamsWithStats), table.Count(float64(m.MACs)),
				strconv.Itoa(m.TrainSize), strconv.Itoa(m.EvalSize), top1)
		}
		return t.Write(a.stdout)
	})
	return cmd
}
