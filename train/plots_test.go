package train_test

import (
	"bytes"
	"encoding/xml"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/train"
)

// aRun is what a run of three stages might have written.
func aRun() (tr []train.TrainRecord, eval []train.EvalRecord) {
	for step := 10; step <= 900; step += 10 {
		t := float64(step)
		stage := 1 + (step-1)/300
		noise := 0.12 * math.Sin(float64(step*step)/97)
		tr = append(tr, train.TrainRecord{Step: step, Stage: stage, Size: 8 + 8*stage,
			Loss: train.Number(0.7 + 1.6*math.Exp(-t/250) + noise + 0.03*float64(stage)), Top1: train.Number(0.85 - 0.7*math.Exp(-t/300) + noise/3),
			LR: 0.002 * (1 + math.Cos(math.Pi*t/900)) / 2})
		if step%100 == 0 {
			eval = append(eval, train.EvalRecord{Step: step, Loss: train.Number(0.65 + 1.5*math.Exp(-t/260)), EMALoss: train.Number(0.62 + 1.7*math.Exp(-t/200)),
				Top1: train.Number(0.86 - 0.6*math.Exp(-t/320)), EMATop1: train.Number(0.87 - 0.75*math.Exp(-t/220))})
		}
	}
	tr[40].Loss = train.Number(math.NaN())
	return tr, eval
}

// TestWritePlots checks that every picture is whole and not empty; set VKEFFNET_PLOTS to a folder to look at them.
func TestWritePlots(t *testing.T) {
	dir := os.Getenv("VKEFFNET_PLOTS")
	if dir == "" {
		dir = filepath.Join(t.TempDir(), "plots")
	}
	tr, eval := aRun()
	require.NoError(t, train.WritePlots(dir, tr, eval))
	assert.Equal(t, []string{"accuracy.png", "accuracy.svg", "image_size.png", "image_size.svg", "learning_rate.png",
		"learning_rate.svg", "loss.png", "loss.svg"}, names(t, dir))
	for _, name := range names(t, dir) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		if strings.HasSuffix(name, ".png") {
			m, err := png.Decode(bytes.NewReader(data))
			require.NoError(t, err)
			colours := map[any]bool{}
			for y := range m.Bounds().Dy() {
				for x := range m.Bounds().Dx() {
					colours[m.At(x, y)] = true
				}
			}
			assert.Greater(t, len(colours), 20, name)
			continue
		}
		d := xml.NewDecoder(bytes.NewReader(data))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else {
				require.NoError(t, err)
			}
		}
		assert.Contains(t, string(data), "stroke-dasharray", "the ends of stages")
	}
}

// TestWritePlotsEarly draws a run that has hardly begun.
func TestWritePlotsEarly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "plots")
	require.NoError(t, train.WritePlots(dir, nil, nil))
	assert.Empty(t, names(t, dir))
	require.NoError(t, train.WritePlots(dir, []train.TrainRecord{{Step: 1, Loss: train.Number(math.NaN())}}, nil))
	assert.Equal(t, []string{"accuracy.png", "accuracy.svg", "image_size.png", "image_size.svg", "learning_rate.png", "learning_rate.svg"}, names(t, dir))
}

func TestCurve(t *testing.T) {
	assert.Equal(t, ""+
		"        top-1\n"+
		"      1 │⠀⠀⠀⠀⠀⠀⡠⠊\n"+
		"        │⠀⠀⠀⠀⡠⠊\n"+
		"        │⠀⠀⡠⠊\n"+
		"      0 │⡠⠊\n"+
		"        └0     10\n", train.Curve("top-1", []float64{0, 7, 10}, []float64{0, math.NaN(), 1}, 17, 6))
	assert.Empty(t, train.Curve("", []float64{1}, []float64{1}, 80, 20))
	assert.NotEmpty(t, train.Curve("", []float64{1, 1}, []float64{1, 1}, 0, 0), "no size is too small")
}
