package main

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-8d806880/vkeffnet/train"
)

// imageEndings are the files of a folder that predict takes.
var imageEndings = map[string]bool{".jpg": true, ".jpeg": true, ".png": true, ".webp": true, ".gif": true, ".bmp": true}

// predictJSON is one line of predict --json.
type predictJSON struct {
	File string      `json:"file"`
	Top  []guessJSON `json:"top"`
}

type guessJSON struct {
	Class int     `json:"class"`
	Name  string  `json:"name"`
	P     float64 `json:"p"`
}

func newPredict(a *app) *cobra.Command {
	var weights, precision string
	top := 5
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "predict --weights W IMAGE...",
		Short: "class names and probabilities of images",
		Long: `predict classifies images (JPEG, PNG, WebP, GIF, BMP) and all images in folders. A file that cannot
be read is reported and the others are classified; the exit status is then 1.`,
		Example: `  vkeffnet predict --weights RUN/best.safetensors cat.jpg dog.png
  vkeffnet predict --weights RUN/best.safetensors --top 1 --json photos/`,
		Args: cobra.MinimumNArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&weights, "weights", "", "`file` of weights, safetensors or PyTorch")
	f.IntVar(&top, "top", top, "classes to name per image, the most probable first")
	precisionFlag(f, &precision)
	f.BoolVar(&asJSON, "json", false, "print one JSON object a line")
	require(cmd, "weights")
	cmd.RunE = do(func(ctx context.Context, args []string) error {
		if top < 1 {
			return usagef("--top: got %d, want at least 1", top)
		}
		elem, err := parsePrecision(precision)
		if err != nil {
			return err
		}
		dev, err := a.open()
		if err != nil {
			return err
		}
		defer dev.Close()
		tuner, err := a.openTuner(dev, asJSON)
		if err != nil {
			return err
		}
		p, err := train.NewPredictor(dev, weights, &train.PredictOptions{Top: top, Batch: 1, Elem: elem, NoFuse: a.noFuse,
			Tuner: tuner, Compiling: a.compiling(asJSON)})
		if err != nil {
			return err
		}
		defer p.Close()
		files, failed := 0, 0
		for _, arg := range args {
			err := filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() || path != arg && !imageEndings[strings.ToLower(filepath.Ext(path))] {
					return nil
				}
				files++
				if err == nil {
					err = a.predict(ctx, p, path, asJSON)
				}
				if err == nil || ctx.Err() != nil {
					return err
				}
				failed++
				fmt.Fprintf(a.stderr, "vkeffnet: error: %v\n", err)
				return nil
			})
			if err != nil {
				return err
			}
		}
		switch {
		case files == 0:
			return fmt.Errorf("got no image in %d arguments, want at least one", len(args))
		case failed > 0:
			return fmt.Errorf("%d of %d images could not be classified", failed, files)
		}
		return nil
	})
	return cmd
}

// predict classifies one file and prints the result.
func (a *app) predict(ctx context.Context, p *train.Predictor, file string, asJSON bool) error {
	px, err := train.ReadImage(file)
	if err != nil {
		return err
	}
	guesses, err := p.PredictPixels(ctx, px)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if asJSON {
		line := predictJSON{File: file}
		for _, g := range guesses[0] {
			line.Top = append(line.Top, guessJSON(g))
		}
		return a.printJSON(line)
	}
	fmt.Fprintln(a.stdout, file)
	for _, g := range guesses[0] {
		fmt.Fprintf(a.stdout, "  %6.2f%%  %s\n", 100*g.P, g.Name)
	}
	return nil
}
