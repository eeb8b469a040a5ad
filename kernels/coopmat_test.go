package kernels_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// forEachCoopDevice runs f on every device with cooperative matrices that the coopmat variants use.
func forEachCoopDevice(t *testing.T, f func(t *testing.T, dev *vk.Device, e kernels.Elem)) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, e := range coopElems(dev) {
			t.Run(e.String(), func(t *testing.T) { f(t, dev, e) })
		}
	})
}

// Every shape of matrices that the device lists gives right results, with several matrices and subgroups in each direction.
// Shapes are a tile and a half, and less than one, in each direction.
func TestCoopTiles(t *testing.T) {
	forEachCoopDevice(t, func(t *testing.T, dev *vk.Device, e kernels.Elem) {
		proven := kernels.ProvenMatrices(dev, e)
		require.NotEmpty(t, proven)
		for _, m := range proven {
			rows, cols := int(8*m.M), int(8*m.N)
			name := fmt.Sprintf("coopmat/%dx%dx%d/%dx%d/4x4", m.M, m.N, m.K, rows, cols)
			conv := kernels.NewConv(1, rows/8, 12, 8, cols*3/2, 3, 1, torch)
			t.Run("fwd", func(t *testing.T) {
				convFwdCase{conv: conv, stats: true, in: kernels.Pending{BN: true, Act: kernels.SiLU}}.with(e).on(name).run(t, dev)
			})
			conv = kernels.NewConv(2, 3, 3, cols/2, 48, 3, 2, same)
			t.Run("dgrad", func(t *testing.T) {
				convDgradCase{conv: conv, dy: kernels.GradIn{BN: true}, sink: kernels.Sink{Act: kernels.SiLU}}.with(e).on(name).run(t, dev)
			})
			conv = kernels.NewConv(1, 6, 7, 8, rows*3/2, 3, 1, torch)
			t.Run("wgrad", func(t *testing.T) {
				convWgradCase{conv: conv, dy: kernels.GradIn{BN: true}, in: kernels.Pending{BN: true}}.with(e).on(name).run(t, dev)
			})
		}
	})
}

// The variant is shipped where the device has proven matrices and only there, and not for float32 or the stem.
func TestCoopShipped(t *testing.T) {
	forEachCoopDevice(t, func(t *testing.T, dev *vk.Device, e kernels.Elem) {
		t.Cleanup(kernels.Ship(dev, "coopmat"))
		variant := func(dev *vk.Device, conv kernels.Conv, e kernels.Elem) string {
			conv.Elem = e
			op, err := kernels.NewConvFwd(dev, kernels.ConvFwdConfig{Conv: conv})
			require.NoError(t, err)
			return op.Variant()
		}
		assert.Equal(t, "coopmat", variant(dev, convShapes[2], e))
		assert.Equal(t, "tiled", variant(dev, convShapes[2], kernels.F32))
		assert.Equal(t, "tiled", variant(dev, stemShapes[0], e))

		open := func(disable ...string) (*vk.Device, *bytes.Buffer) {
			var log bytes.Buffer
			o := shadertest.Options()
			o.Disable, o.Log = append(o.Disable, disable...), slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
			o.Device = dev.Info().Name
			d, err := vk.Open(o)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, d.Close()) })
			return d, &log
		}
		hidden, _ := open("VK_KHR_cooperative_matrix")
		assert.Equal(t, "tiled", variant(hidden, convShapes[2], e))
		liar, log := open()
		kernels.FailMatrices(liar, e, errors.New("number 3 is 1, the reference's is 2"))
		assert.Equal(t, "tiled", variant(liar, convShapes[2], e))
		assert.Equal(t, "tiled", variant(liar, convShapes[4], e))
		for _, m := range liar.Info().CoopMat {
			if m.A == e.String() && m.C == "f32" {
				assert.Equal(t, 1, bytes.Count(log.Bytes(), fmt.Appendf(nil, "shape=%dx%dx%d", m.M, m.N, m.K)), "one warning: %s", log)
			}
		}
		assert.Contains(t, log.String(), "number 3 is 1")
	})
}

func TestCoopErrors(t *testing.T) {
	forEachCoopDevice(t, func(t *testing.T, dev *vk.Device, e kernels.Elem) {
		conv := convShapes[2]
		conv.Elem = e
		m := kernels.ProvenMatrices(dev, e)[0]
		shape := fmt.Sprintf("coopmat/%dx%dx%d/", m.M, m.N, m.K)
		for name, want := range map[string]any{
			"coopmat/8x8":                     new(*kernels.ShapeError),
			shape + "64x64/2x2@0":             new(*kernels.ShapeError),
			shape + "64x64/2x2x2":             new(*kernels.ShapeError),
			shape + "1024x1024/1x1":           new(*vk.UnsupportedError),
			shape + "64x64/0x0":               new(*vk.UnsupportedError),
			"coopmat/24x24x24/48x48/2x2":      new(*vk.UnsupportedError),
			"coopmat/32x32x32/128x128/2x4@64": new(*vk.UnsupportedError),
		} {
			_, err := kernels.NewConvFwd(dev, kernels.ConvFwdConfig{Conv: conv, Variant: name})
			assert.ErrorAs(t, err, want, name)
		}
	})
}
