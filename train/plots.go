package train

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Colours that differ for readers who are blind to some (Okabe and Ito 2008).
var (
	plotBlue   = color.RGBA{0, 114, 178, 255}
	plotOrange = color.RGBA{213, 94, 0, 255}
	plotGreen  = color.RGBA{0, 158, 115, 255}
	plotPale   = color.RGBA{170, 200, 225, 255}
	plotLine   = color.Gray{170}
)

// series is one curve of a plot.
type series struct {
	name   string
	x, y   []float64
	color  color.Color
	points bool // marked points, for what is measured rarely
	steps  bool // constant up to the next point
}

// WritePlots draws loss, accuracy, learning rate and image size over the steps of a run into dir, each as NAME.png and
// NAME.svg; dashed lines part the stages. A picture without any point is left out. Files are replaced at once.
func WritePlots(dir string, train []TrainRecord, eval []EvalRecord) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return writeError(dir, err)
	}
	var step, loss, smooth, top1, rate, size []float64
	var edges []float64 // where a stage begins
	mean := average{}
	for i, r := range train {
		step, loss = append(step, float64(r.Step)), append(loss, float64(r.Loss))
		top1, rate, size = append(top1, float64(r.Top1)), append(rate, r.LR), append(size, float64(r.Size))
		if !math.IsNaN(float64(r.Loss)) {
			// The mean over the last twentieth of the run; the time constant counts as seconds.
			mean.add(float64(r.Loss), averageTime.Seconds()*20/float64(len(train)))
		}
		smooth = append(smooth, mean.value())
		if i > 0 && r.Stage != train[i-1].Stage {
			edges = append(edges, float64(train[i-1].Step))
		}
	}
	var evalStep, evalLoss, emaLoss, evalTop1, emaTop1 []float64
	for _, r := range eval {
		evalStep = append(evalStep, float64(r.Step))
		evalLoss, emaLoss = append(evalLoss, float64(r.Loss)), append(emaLoss, float64(r.EMALoss))
		evalTop1, emaTop1 = append(evalTop1, float64(r.Top1)), append(emaTop1, float64(r.EMATop1))
	}
	for _, p := range []struct {
		name, title string
		series      []series
	}{
		{"loss", "loss", []series{
			{name: "training", x: step, y: loss, color: plotPale},
			{name: "training, mean", x: step, y: smooth, color: plotBlue},
			{name: "held out", x: evalStep, y: evalLoss, color: plotOrange, points: true},
			{name: "held out, averaged weights", x: evalStep, y: emaLoss, color: plotGreen, points: true}}},
		{"accuracy", "top-1 accuracy", []series{
			{name: "training (augmented)", x: step, y: top1, color: plotPale},
			{name: "held out", x: evalStep, y: evalTop1, color: plotOrange, points: true},
			{name: "held out, averaged weights", x: evalStep, y: emaTop1, color: plotGreen, points: true}}},
		{"learning_rate", "learning rate", []series{{x: step, y: rate, color: plotBlue}}},
		{"image_size", "image size (pixels)", []series{{x: step, y: size, color: plotBlue, steps: true}}},
	} {
		if err := writePlot(filepath.Join(dir, p.name), p.title, p.series, edges); err != nil {
			return err
		}
	}
	return nil
}

// writePlot draws curves over the step; points that are not finite are left out.
func writePlot(file, title string, curves []series, edges []float64) error {
	p := plot.New()
	p.Title.Text = title
	p.Title.Padding = vg.Points(6)
	p.X.Label.Text = "step"
	p.X.Min, p.X.Max = 0, 1
	p.Legend.Top = true
	p.Legend.Padding = vg.Points(2)
	lo, hi := math.Inf(1), math.Inf(-1)
	drawn := 0
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = color.Gray{220}
	p.Add(grid)
	for _, c := range curves {
		var xy plotter.XYs
		for i := range c.x {
			if sum := c.x[i] + c.y[i]; !math.IsNaN(sum) && !math.IsInf(sum, 0) {
				xy = append(xy, plotter.XY{X: c.x[i], Y: c.y[i]})
				lo, hi = min(lo, c.y[i]), max(hi, c.y[i])
				p.X.Max = max(p.X.Max, c.x[i])
			}
		}
		if len(xy) == 0 {
			continue
		}
		drawn++
		line, points, err := plotter.NewLinePoints(xy)
		if err != nil {
			return fmt.Errorf("train: plot %s: %w", file, err)
		}
		line.Color, line.Width = c.color, vg.Points(1.5)
		if c.steps {
			line.StepStyle = plotter.PreStep // a record speaks of the steps before it
		}
		p.Add(line)
		if c.points {
			points.Color, points.Radius, points.Shape = c.color, vg.Points(2), draw.CircleGlyph{}
			p.Add(points)
		}
		if c.name != "" {
			p.Legend.Add(c.name, line)
		}
	}
	if drawn == 0 {
		return nil
	}
	if lo == hi {
		lo, hi = lo-0.5, hi+0.5
	}
	margin := 0.04 * (hi - lo)
	p.Y.Min, p.Y.Max = lo-margin, hi+margin
	if len(curves) > 1 { // room for the legend above the curves
		p.Y.Max += 0.25 * (hi - lo)
	}
	for _, x := range edges {
		line, err := plotter.NewLine(plotter.XYs{{X: x, Y: p.Y.Min}, {X: x, Y: p.Y.Max}})
		if err != nil {
			return fmt.Errorf("train: plot %s: %w", file, err)
		}
		line.Color, line.Dashes = plotLine, []vg.Length{vg.Points(4), vg.Points(3)}
		p.Add(line)
	}
	for _, format := range []string{"png", "svg"} {
		canvas, err := draw.NewFormattedCanvas(20*vg.Centimeter, 11*vg.Centimeter, format)
		if err != nil {
			return fmt.Errorf("train: plot %s: %w", file, err)
		}
		p.Draw(draw.Crop(draw.New(canvas), 8, -8, 8, -8))
		if err := streamFileAtomic(file+"."+format, func(out io.Writer) error {
			_, err := canvas.WriteTo(out)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}
