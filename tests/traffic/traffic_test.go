// Package traffic_test holds what a training step moves and keeps, counted from its recorded dispatches.
package traffic_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/assert"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/tests/plans"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

func TestMain(m *testing.M) { os.Exit(shadertest.Main(m)) }

// bytesPerImage adds up what every dispatch of the step reads and writes: the size of each binding, once for each access,
// however often a dispatch touches it and whatever a cache holds.
func bytesPerImage(rec *vk.Recorder, batch int) float64 {
	var sum int64
	for _, c := range rec.Calls() {
		sum += c.Read + c.Written
	}
	return float64(sum) / float64(batch)
}

// TestTraffic holds the bytes of a training step in float16 on the device's own plan: 10^6 bytes an image.
func TestTraffic(t *testing.T) {
	const mb = 1e6
	type row struct {
		step                 plans.Step
		traffic, activations float64 // at most
	}
	rows := []row{
		{plans.Step{Variant: "s", Batch: 128, Size: 300}, 445, 65},
		{plans.Step{Variant: "m", Batch: 64, Size: 384}, 0, 0},
		{plans.Step{Variant: "l", Batch: 32, Size: 384}, 0, 0},
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "model\tbatch\tsize\tfloor\tplan\twithout fusion\tactivations\t")
	dev := shadertest.Devices(t)[0]
	for _, r := range rows {
		r.step.Mode, r.step.Elem = layers.Train, kernels.F16
		rec, net := r.step.Record(t, dev)
		n := float64(r.step.Batch)
		got, kept := bytesPerImage(rec, r.step.Batch)/mb, float64(net.ArenaBytes())/n/mb
		plain := r.step
		plain.NoFuse = true
		unfused, _ := plain.Record(t, dev)
		fmt.Fprintf(w, "%s\t%d\t%d\t%.0f\t%.0f\t%.0f\t%.1f\t\n", r.step.Variant, r.step.Batch, r.step.Size,
			float64(net.FloorBytes())/n/mb, got, bytesPerImage(unfused, r.step.Batch)/mb, kept)
		if r.traffic > 0 {
			assert.LessOrEqual(t, got, r.traffic, "MB an image that the step of %s moves", r.step.Variant)
			assert.LessOrEqual(t, kept, r.activations, "MB an image that activations and their gradients take in %s", r.step.Variant)
		}
	}
	w.Flush()
	t.Logf("10^6 bytes an image\n%s", text.String())
}
