package layers_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

func TestMain(m *testing.M) { os.Exit(shadertest.Main(m)) }

// A skip connection that cannot be added ends the construction with both shapes; so does a batch of no image.
func TestBuildRefuses(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, c := range []struct {
			out, stride int
			want        string
		}{{3, 2, "from 9x7x3 to 5x4x3"}, {8, 1, "from 9x7x3 to 9x7x8"}} {
			_, err := layers.Build(dev, layers.Options{Batch: 1, Blocks: 1}, func(g *layers.Graph) {
				g.FusedMBConv(g.Input(9, 7), layers.Block{Skip: true,
					Expand: layers.ConvBN{Name: "conv", Out: c.out, Kernel: 3, Stride: c.stride}})
			})
			require.ErrorContains(t, err, "conv: a skip connection "+c.want)
		}
		_, err := layers.Build(dev, layers.Options{}, func(*layers.Graph) {})
		require.ErrorContains(t, err, "got a batch of 0, want at least 1")
	})
}
