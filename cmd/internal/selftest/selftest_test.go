package selftest

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

func TestMain(m *testing.M) { os.Exit(shadertest.Main(m)) }

// Every kernel is right on every device here, and no shader goes untested.
func TestEveryKernel(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		used := map[string]bool{}
		for _, c := range tests() {
			r, shaders, err := c.check(context.Background(), dev)
			require.NoError(t, err, "%s %s", c.kernel, c.variant)
			assert.True(t, r.OK, "%s %s: %s", c.kernel, c.variant, r.Detail)
			for name := range shaders {
				used[name] = true
			}
		}
		for _, s := range shaders.All {
			if strings.HasPrefix(s.Name, "example_") || strings.HasPrefix(s.Name, "ceiling_") || !supports(dev, s) {
				continue
			}
			assert.True(t, used[s.Name], "the self-test never runs %s", s.Name)
		}
	})
}

func supports(dev *vk.Device, s *vk.Shader) bool {
	for _, need := range s.Needs {
		if !dev.Has(need) {
			return false
		}
	}
	return true
}

// A wrong number, a number that is none and a write beside a buffer are found, and the hint is given.
func TestFaultsAreFound(t *testing.T) {
	dev := shadertest.Devices(t)[0]
	for name, run := range map[string]func(*bed){
		"wrong": func(b *bed) { b.compare("x", []float64{1, 2.1}, []float64{1, 2}) },
		"nan": func(b *bed) {
			x := b.output(3)
			b.run(func(*vk.Recorder) {})
			b.compare("x", x.read(), []float64{1, 2, 3})
		},
		"overflow": func(b *bed) {
			x := b.output(64)
			b.run(func(rec *vk.Recorder) { rec.Fill(x.mem.Range().Slice(0, 256), 0) })
		},
	} {
		r, _, err := test{kernel: "kernel", variant: "variant", hint: "the hint", run: run}.check(context.Background(), dev)
		require.NoError(t, err)
		assert.False(t, r.OK, name)
		assert.Equal(t, "the hint", r.Hint, name)
		assert.NotEmpty(t, r.Detail, name)
	}
}
