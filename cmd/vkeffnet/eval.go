package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/table"
	"github.com/seed-8d806880/vkeffnet/train"
)

// evalJSON is the object of eval --json; accuracies are in 0 to 1.
type evalJSON struct {
	Top1      float64         `json:"top1"`
	Top5      float64         `json:"top5"`
	Loss      float64         `json:"loss"`
	Images    int             `json:"images"`
	PerClass  []evalClassJSON `json:"per_class"`
	Confusion [][]int         `json:"confusion"` // [true class][predicted class]
}

type evalClassJSON struct {
	Class  int     `json:"class"`
	Name   string  `json:"name"`
	Images int     `json:"images"`
	Top1   float64 `json:"top1"`
}

func newEval(a *app) *cobra.Command {
	var weights, data, precision string
	var batch, size, show int
	var split float64
	var seed uint64
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "eval --weights W --data D",
		Short: "top-1, top-5, loss, accuracy of each class and confusion matrix",
		Long: `eval measures weights on the validation part of a data set, or on all of it where it has none.
Image size, normalisation and padding are those that the weights file names.`,
		Example: `  vkeffnet eval --weights RUN/best.safetensors --data demo
  vkeffnet eval --weights RUN/best.safetensors --data photos --val-split 0.1 --seed 7 --json`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&weights, "weights", "", "`file` of weights, safetensors or PyTorch")
	f.StringVar(&data, "data", "", "a `folder` of class folders, idx:DIR or demo")
	f.Float64Var(&split, "val-split", 0, "evaluate the `share` that train holds out with the same --val-split and --seed")
	f.Uint64Var(&seed, "seed", 0, "of the training run, with --val-split")
	f.IntVar(&batch, "batch", 32, "images of a step")
	f.IntVar(&size, "size", 0, "side of the images in pixels; 0: the size that the weights file names")
	f.IntVar(&show, "show", 0, "draw so many of the images, of all classes in turn, with what the network takes them for")
	precisionFlag(f, &precision)
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	require(cmd, "weights", "data")
	cmd.RunE = do(func(ctx context.Context, _ []string) error {
		if batch < 1 || size < 0 || show < 0 {
			return usagef("--batch, --size and --show: got %d, %d and %d, want at least 1, 0 and 0", batch, size, show)
		}
		elem, err := parsePrecision(precision)
		if err != nil {
			return err
		}
		all, val, err := train.OpenData(data, &train.DataOptions{ValSplit: split, Seed: seed})
		if err != nil {
			return err
		}
		if val == nil {
			val = all
		}
		dev, err := a.open()
		if err != nil {
			return err
		}
		defer dev.Close()
		m, meta, err := train.OpenModel(dev, weights)
		if err != nil {
			return err
		}
		defer m.Release()
		o, err := train.EvalOptionsOf(meta, batch)
		if err != nil {
			return err
		}
		o.Elem, o.NoFuse, o.Compiling = elem, a.noFuse, a.compiling(asJSON)
		if o.Tuner, err = a.openTuner(dev, asJSON); err != nil {
			return err
		}
		if size != 0 {
			o.Size = size
		}
		r, err := train.Evaluate(ctx, m, val, o)
		if err != nil {
			return err
		}
		e := evalJSON{Top1: r.Top1, Top5: r.Top5, Loss: r.Loss, Images: r.Images, PerClass: []evalClassJSON{}, Confusion: r.Confusion}
		for i, c := range r.PerClass {
			e.PerClass = append(e.PerClass, evalClassJSON{i, c.Class, c.Images, c.Top1})
		}
		if asJSON {
			return a.printJSON(e)
		}
		if err := a.printEval(e); err != nil || show == 0 {
			return err
		}
		return a.show(ctx, dev, weights, elem, val, show)
	})
	return cmd
}

// maxConfusion is the largest number of classes whose confusion matrix is printed: wider tables do not fit a terminal.
const maxConfusion = 20

func (a *app) printEval(e evalJSON) error {
	fmt.Fprintf(a.stdout, "top-1 %.2f%%, top-5 %.2f%%, loss %.4f over %d images\n\n", 100*e.Top1, 100*e.Top5, e.Loss, e.Images)
	t := table.New("CLASS", "NAME", ">IMAGES", ">TOP-1")
	for _, c := range e.PerClass {
		t.Add(strconv.Itoa(c.Class), c.Name, strconv.Itoa(c.Images), table.Percent(c.Top1))
	}
	if err := t.Write(a.stdout); err != nil || len(e.PerClass) > maxConfusion {
		return err
	}
	fmt.Fprintln(a.stdout, "\nrows: true class; columns: predicted class")
	header := []string{""}
	for _, c := range e.PerClass {
		header = append(header, ">"+strconv.Itoa(c.Class))
	}
	t = table.New(header...)
	for i, row := range e.Confusion {
		cells := []string{e.PerClass[i].Name}
		for _, n := range row {
			cells = append(cells, strconv.Itoa(n))
		}
		t.Add(cells...)
	}
	return t.Write(a.stdout)
}
