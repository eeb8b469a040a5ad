package bench

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Colours that differ for readers who are blind to some (Okabe and Ito 2008).
var modeColors = map[string]color.Color{"train": color.RGBA{213, 94, 0, 255}, "infer": color.RGBA{0, 114, 178, 255}}

// PlotScaling draws the results of Scaling into NAME.png and NAME.svg: a column for each sweep, time of a step (GrowingMS) above
// planned memory. Both axes are logarithmic. A dashed line is what the time would be if it grew with the FLOPs alone,
// from the largest point that was measured downwards.
func PlotScaling(name, title string, results []Result) error {
	var plots [2][]*plot.Plot
	for _, by := range []string{ByBatch, BySize, ByModel} {
		var list []Result
		for _, r := range results {
			if r.Sweep == by {
				list = append(list, r)
			}
		}
		if len(list) == 0 {
			continue
		}
		label := "ms a step"
		if slices.ContainsFunc(list, func(r Result) bool { return r.StepCPUMS > 0 }) {
			label = "CPU ms a step"
		}
		top, err := scalingPanel(by, list, label, func(r Result) (float64, bool) { return r.GrowingMS(), r.Skipped == "" }, true)
		if err != nil {
			return err
		}
		bottom, err := scalingPanel(by, list, "memory, MiB", func(r Result) (float64, bool) {
			return float64(r.Memory.Total) / (1 << 20), r.Memory.Total > 0
		}, false)
		if err != nil {
			return err
		}
		plots[0], plots[1] = append(plots[0], top), append(plots[1], bottom)
	}
	if len(plots[0]) == 0 {
		return errors.New("bench: the plot of the suite scaling: there is no point")
	}
	for _, format := range []string{"png", "svg"} {
		columns := len(plots[0])
		canvas, err := draw.NewFormattedCanvas(vg.Length(columns)*9*vg.Centimeter, 17*vg.Centimeter, format)
		if err != nil {
			return fmt.Errorf("bench: plot: %w", err)
		}
		whole := draw.Crop(draw.New(canvas), plotMargin, -plotMargin, plotMargin, -plotMargin)
		if err := scalingHead(whole, title); err != nil {
			return err
		}
		tiles := draw.Tiles{Rows: 2, Cols: columns, PadX: vg.Points(14), PadY: vg.Points(10)}
		for i, row := range plot.Align(plots[:], tiles, draw.Crop(whole, 0, 0, 0, -plotHead)) {
			for j, c := range row {
				plots[i][j].Draw(c)
			}
		}
		f, err := os.Create(name + "." + format)
		if err == nil {
			_, err = canvas.WriteTo(f)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return fmt.Errorf("bench: plot: %w", err)
		}
	}
	return nil
}

// Of the picture: its margin, and what title and legend take above the panels.
const (
	plotMargin = vg.Length(10)
	plotHead   = vg.Length(66)
)

// proportional is how the time is drawn that grows with the FLOPs alone.
var proportional = draw.LineStyle{Width: vg.Points(0.8), Dashes: []vg.Length{vg.Points(3), vg.Points(3)}}

// scalingHead draws the title and one legend for all panels.
func scalingHead(c draw.Canvas, title string) error {
	style := plot.New().Title.TextStyle
	style.XAlign, style.YAlign = draw.XLeft, draw.YTop
	c.FillText(style, vg.Point{X: c.Min.X, Y: c.Max.Y}, title)
	legend := plot.NewLegend()
	legend.Top, legend.Left, legend.Padding = true, true, vg.Points(2)
	for _, mode := range []string{"train", "infer"} {
		line, points, err := plotter.NewLinePoints(plotter.XYs{{}})
		if err != nil {
			return fmt.Errorf("bench: plot: %w", err)
		}
		line.Color, points.Color = modeColors[mode], modeColors[mode]
		line.Width, points.GlyphStyle.Radius, points.Shape = lineWidth, pointRadius, draw.CircleGlyph{}
		legend.Add(mode, line, points)
	}
	dashes := plotter.Line{LineStyle: proportional}
	dashes.Color = color.Black
	legend.Add("time that grows with the FLOPs alone, from the largest point down", &dashes)
	legend.Draw(draw.Crop(c, 0, 0, 0, -vg.Points(18)))
	return nil
}

// Of the curves.
const (
	lineWidth   = vg.Length(1.5)
	pointRadius = vg.Length(2.2)
)

// scalingPanel draws one figure of one sweep, both modes.
func scalingPanel(by string, list []Result, label string, value func(Result) (float64, bool), compare bool) (*plot.Plot, error) {
	p := plot.New()
	p.X.Label.Text = map[string]string{ByBatch: "images of a step", BySize: "side of the images, pixels", ByModel: "model"}[by]
	p.Y.Label.Text = label
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, roundTicks{}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{225}, color.Gray{225}
	p.Add(grid)
	x, ticks := abscissa(by, list)
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	if by != ByModel {
		p.X.Scale = plot.LogScale{}
	}
	low, high := math.Inf(1), 0.0
	for _, mode := range []string{"train", "infer"} {
		var xy, ideal plotter.XYs
		var last Result
		for _, r := range list {
			if y, ok := value(r); ok && y > 0 && r.Mode == mode {
				xy = append(xy, plotter.XY{X: x(r), Y: y})
				low, high = min(low, y), max(high, y)
				if r.FLOPs > last.flops() {
					last = r
				}
			}
		}
		if len(xy) == 0 {
			continue
		}
		line, points, err := plotter.NewLinePoints(xy)
		if err != nil {
			return nil, fmt.Errorf("bench: plot: %w", err)
		}
		line.Color, line.Width = modeColors[mode], lineWidth
		points.Color, points.Radius, points.Shape = modeColors[mode], pointRadius, draw.CircleGlyph{}
		if compare {
			for _, r := range list {
				if _, ok := value(r); ok && r.Mode == mode {
					ideal = append(ideal, plotter.XY{X: x(r), Y: last.GrowingMS() * float64(r.FLOPs) / float64(last.FLOPs)})
					low = min(low, ideal[len(ideal)-1].Y)
				}
			}
			dashes, err := plotter.NewLine(ideal)
			if err != nil {
				return nil, fmt.Errorf("bench: plot: %w", err)
			}
			dashes.LineStyle = proportional
			dashes.Color = modeColors[mode]
			p.Add(dashes)
		}
		p.Add(line, points)
	}
	if high > 0 {
		p.Y.Min, p.Y.Max = low/1.2, high*1.2
	}
	p.X.Min, p.X.Max = ticks[0].Value, ticks[len(ticks)-1].Value
	if by == ByModel || len(ticks) == 1 {
		p.X.Min, p.X.Max = p.X.Min-0.3, p.X.Max+0.3
	}
	return p, nil
}

// flops is 0 for a result without figures.
func (r Result) flops() int64 {
	if r.Growth == nil {
		return 0
	}
	return r.FLOPs
}

// labelRatio is how far apart values on a logarithmic axis must be for their labels to be legible.
const labelRatio = 1.25

// abscissa says where a result stands, and marks the values that there are.
func abscissa(by string, list []Result) (x func(Result) float64, ticks []plot.Tick) {
	switch by {
	case ByBatch:
		x = func(r Result) float64 { return float64(r.Batch) }
	case BySize:
		x = func(r Result) float64 { return float64(r.Size) }
	default:
		at := map[string]float64{}
		for _, r := range list {
			if _, ok := at[r.Model]; !ok {
				at[r.Model] = float64(len(at))
				ticks = append(ticks, plot.Tick{Value: at[r.Model], Label: r.Model})
			}
		}
		return func(r Result) float64 { return at[r.Model] }, ticks
	}
	labelled := 0.0
	for _, r := range list {
		if r.Mode == list[0].Mode {
			tick := plot.Tick{Value: x(r)}
			if tick.Value >= labelRatio*labelled {
				tick.Label, labelled = strconv.Itoa(int(tick.Value)), tick.Value
			}
			ticks = append(ticks, tick)
		}
	}
	return x, ticks
}

// roundTicks marks 1, 2 and 5 times the powers of ten.
type roundTicks struct{}

func (roundTicks) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for ten := math.Pow(10, math.Floor(math.Log10(low))); ten <= high; ten *= 10 {
		for _, k := range []float64{1, 2, 5} {
			if v := k * ten; v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', max(0, -int(math.Floor(math.Log10(v)))), 64)})
			}
		}
	}
	return ticks
}
