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

// TestTraffic holds the bytes of a training step in float16, 10^6 bytes an image, on the plans of this device and of a GPU,
// where dy of the 3x3 convolutions is built twice instead of being written.
func TestTraffic(t *testing.T) {
	t.Run("device", func(t *testing.T) { traffic(t, shadertest.Devices(t)[0], 420) })
	t.Run("GPU", func(t *testing.T) { traffic(t, plans.OpenAMD(t, "NAVI21"), 400) })
}

func traffic(t *testing.T, dev *vk.Device, most float64) {
	const mb, mostKept = 1e6, 65
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "model\tbatch\tsize\tfloor\tplan\twithout fusion\tactivations\t")
	for _, s := range []plans.Step{{Variant: "s", Batch: 128, Size: 300}, {Variant: "m", Batch: 64, Size: 384}, {Variant: "l", Batch: 32, Size: 384}} {
		s.Mode, s.Elem = layers.Train, kernels.F16
		rec, net := s.Record(t, dev)
		n := float64(s.Batch)
		got, kept := bytesPerImage(rec, s.Batch)/mb, float64(net.ArenaBytes())/n/mb
		plain := s
		plain.NoFuse = true
		unfused, _ := plain.Record(t, dev)
		fmt.Fprintf(w, "%s\t%d\t%d\t%.0f\t%.0f\t%.0f\t%.1f\t\n", s.Variant, s.Batch, s.Size,
			float64(net.FloorBytes())/n/mb, got, bytesPerImage(unfused, s.Batch)/mb, kept)
		if s.Variant == "s" {
			assert.LessOrEqual(t, got, most, "MB an image that the step moves")
			assert.LessOrEqual(t, kept, float64(mostKept), "MB an image that activations and their gradients take")
		}
	}
	assert.NoError(t, w.Flush())
	t.Logf("%s, 10^6 bytes an image\n%s", dev.Info().Name, text.String())
}
