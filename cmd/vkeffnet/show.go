package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/train"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// drawnColumns and drawnRows are the characters that an image is drawn with.
const drawnColumns, drawnRows = 20, 10

// show draws images of a data set, the first of every class, then the second and so on, and names beside each its class
// and the classes that the network takes it for.
func (a *app) show(ctx context.Context, dev *vk.Device, weights string, elem kernels.Elem, ds train.Dataset, count int) error {
	tuner, err := a.openTuner(dev, false)
	if err != nil {
		return err
	}
	p, err := train.NewPredictor(dev, weights, &train.PredictOptions{Top: 3, Elem: elem, NoFuse: a.noFuse, Tuner: tuner, Compiling: a.compiling(false)})
	if err != nil {
		return err
	}
	defer p.Close()
	right := 0
	chosen := inTurn(ds, count)
	for _, i := range chosen {
		px, err := ds.Image(i)
		if err != nil {
			return err
		}
		guesses, err := p.PredictPixels(ctx, px)
		if err != nil {
			return err
		}
		verdict := "wrong"
		if guesses[0][0].Class == ds.Label(i) {
			verdict = "right"
			right++
		}
		text := []string{"", ds.Classes()[ds.Label(i)] + ": " + verdict}
		for _, g := range guesses[0] {
			text = append(text, fmt.Sprintf("%6.2f%%  %s", 100*g.P, g.Name))
		}
		fmt.Fprintln(a.stdout)
		for row, line := range drawing(px) {
			if row < len(text) {
				line += "   " + text[row]
			}
			fmt.Fprintln(a.stdout, strings.TrimRight(line, " "))
		}
	}
	_, err = fmt.Fprintf(a.stdout, "\n%d of these %d images are classified rightly\n", right, len(chosen))
	return err
}

// inTurn returns the indices of count images, of each class as many if there are.
func inTurn(ds train.Dataset, count int) []int {
	byClass := make([][]int, len(ds.Classes()))
	for i := range ds.Len() {
		byClass[ds.Label(i)] = append(byClass[ds.Label(i)], i)
	}
	var chosen []int
	for turn := 0; len(chosen) < min(count, ds.Len()); turn++ {
		for _, images := range byClass {
			if turn < len(images) && len(chosen) < count {
				chosen = append(chosen, images[turn])
			}
		}
	}
	return chosen
}

// shades are characters of growing brightness on a dark ground.
var shades = []rune(" ░▒▓█")

// drawing returns an image as lines of characters, as bright as its pixels are on average.
func drawing(px train.Pixels) []string {
	lines := make([]string, drawnRows)
	for row := range lines {
		var line strings.Builder
		for col := range drawnColumns {
			x0, x1 := col*px.W/drawnColumns, max((col+1)*px.W/drawnColumns, col*px.W/drawnColumns+1)
			y0, y1 := row*px.H/drawnRows, max((row+1)*px.H/drawnRows, row*px.H/drawnRows+1)
			sum := 0
			for y := y0; y < y1; y++ {
				for x := x0; x < x1; x++ {
					at := 4 * (y*px.W + x)
					sum += int(px.Pix[at]) + int(px.Pix[at+1]) + int(px.Pix[at+2])
				}
			}
			mean := sum / (3 * (x1 - x0) * (y1 - y0))
			line.WriteRune(shades[mean*len(shades)/256])
		}
		lines[row] = line.String()
	}
	return lines
}
