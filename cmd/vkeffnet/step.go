package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/layers"
)

func newStep(a *app) *cobra.Command {
	var model, weights, batch, out, padding, precision string
	mode := layers.Infer
	cmd := &cobra.Command{
		Use:   "step --model M --weights W --batch B.safetensors --out O.safetensors",
		Short: "one exact pass, for comparison with another framework",
		Long: `step runs one pass over the batch in B and writes the numbers that another framework can be
compared with.

B holds images F32 [N,3,H,W], normalised, and labels I64 [N]. W is a safetensors or PyTorch
state_dict file in torchvision's or timm's names. O gets logits F32 [N,classes] and, with
--mode train, loss F32 [1], grad.NAME of every parameter and buffer.NAME of every running
statistic after the step, in torchvision's names and shapes. In training the batch's own
statistics count; dropout, stochastic depth and label smoothing are off, and no weight changes.`,
		Example: `  vkeffnet step --model b0 --weights b0.pth --batch B.safetensors --out O.safetensors
  vkeffnet step --mode train --model s --weights s.safetensors --batch B.safetensors --out O.safetensors`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	modelFlag(f, &model, "")
	f.StringVar(&weights, "weights", "", "`file` of weights, safetensors or PyTorch")
	f.StringVar(&batch, "batch", "", "safetensors `file` with images and labels")
	f.StringVar(&out, "out", "", "safetensors `file` to write")
	modeFlag(f, &mode)
	f.StringVar(&padding, "padding", "torch", "torch: k/2 on both sides; same: as TensorFlow")
	precisionFlag(f, &precision)
	require(cmd, "model", "weights", "batch", "out")
	cmd.RunE = do(func(ctx context.Context, _ []string) error {
		pad, err := parsePadding(padding)
		if err != nil {
			return err
		}
		elem, err := parsePrecision(precision)
		if err != nil {
			return err
		}
		v, err := variant(model)
		if err != nil {
			return err
		}
		file, err := effnetv2.ReadFile(weights)
		if err != nil {
			return err
		}
		state, err := v.Match(file, 0)
		if err != nil {
			return err
		}
		classes := file.Classes()
		train := mode == layers.Train
		images, err := effnetv2.ReadBatch(batch, classes, train)
		if err != nil {
			return err
		}
		dev, err := a.open()
		if err != nil {
			return err
		}
		defer dev.Close()
		result, err := effnetv2.ExactStep(ctx, dev, v, state, images, effnetv2.StepOptions{Mode: mode, Padding: pad, Elem: elem, NoFuse: a.noFuse})
		if err != nil {
			return err
		}
		return v.WriteStep(out, images.N, classes, result, train)
	})
	return cmd
}
