package shadertest_test

import (
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

func TestMain(m *testing.M) { os.Exit(shadertest.Main(m)) }

func TestAxpy(t *testing.T) { axpyTest(t) }

// recorder is a testing.TB that keeps failures instead of failing.
type recorder struct {
	testing.TB
	messages []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.messages = append(r.messages, fmt.Sprintf(format, args...))
}

func TestCompare(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	tol := shadertest.Tol{NMSE: 1e-7}
	many := make([]float32, 100000) // one wrong element in many right ones
	wantMany := make([]float64, len(many))
	for i := range many {
		many[i], wantMany[i] = 1, 1
	}
	many[7] = 1.05
	for _, row := range []struct {
		name string
		got  []float32
		want []float64
		tol  shadertest.Tol
		msg  string // part of the message; empty: equal
	}{
		{"exact", []float32{1, 0.1}, []float64{1, 0.1}, shadertest.Tol{}, ""},
		{"one ulp", []float32{1, math.Nextafter32(0.1, 1)}, []float64{1, 0.1}, shadertest.Tol{}, "[1]: got 0.100000009, want 0.100000001 exactly"},
		{"one ulp within", []float32{1, math.Nextafter32(0.1, 1)}, []float64{1, 0.1}, tol, ""},
		{"length", []float32{1}, []float64{1, 2}, tol, "has 1 elements, want 2"},
		{"all zero", []float32{0, 0}, []float64{0, 0}, tol, ""},
		{"zero wanted", []float32{0, 1e-9}, []float64{0, 0}, tol, "[1]: got 9.99999972e-10, want 0"},
		{"nan", []float32{0, nan}, []float64{0, 1}, tol, "[1]: got NaN, want 1"},
		{"nan wanted", []float32{1, nan}, []float64{1, math.NaN()}, tol, ""},
		{"inf", []float32{inf}, []float64{math.Inf(-1)}, tol, "[0]: got +Inf, want -Inf"},
		{"never written", []float32{math.Float32frombits(0x7fc00bad)}, []float64{1}, tol, "never written"},
		{"one of many", many, wantMany, shadertest.Tol{NMSE: 1e-7, Shape: []int{10, 100, 100}}, "[0 0 7]: got 1.04999995, want 1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := &recorder{TB: t}
			shadertest.Compare(r, "y", row.got, row.want, row.tol)
			if row.msg == "" {
				assert.Empty(t, r.messages)
				return
			}
			require.Len(t, r.messages, 1)
			assert.Contains(t, r.messages[0], row.msg)
			if row.name != "length" {
				assert.Regexp(t, `reproduce: .* -(test\.)?run '\^TestCompare\$/\^`, r.messages[0])
			}
		})
	}
}

// TestCaseCatches runs a right shader wrongly: Case must see what it destroys.
func TestCaseCatches(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		run := func(n uint32, bind func(c *shadertest.Case) shaders.ExampleAxpyBindings) []string {
			r := &recorder{TB: t}
			c := shadertest.New(r, dev)
			b := bind(c)
			c.Run(func(rec *vk.Recorder) {
				push := shaders.ExampleAxpyParams{N: n, A: 1}
				rec.Dispatch(vk.Call{Shader: &shaders.ExampleAxpy, Push: push.Bytes(), Bind: b.Ranges(), Groups: [3]uint32{1, 1, 1}})
			})
			return r.messages
		}
		t.Run("written input", func(t *testing.T) {
			got := run(8, func(c *shadertest.Case) shaders.ExampleAxpyBindings {
				return shaders.ExampleAxpyBindings{X: c.Input(shadertest.Rand(1, 8)).Range(), Y: c.Input(shadertest.Rand(2, 8)).Range()}
			})
			require.Len(t, got, 3, "one message a run")
			assert.Contains(t, got[0], "run 1: buffer 1 is an input: its word 0 became")
		})
		t.Run("guard", func(t *testing.T) {
			got := run(4, func(c *shadertest.Case) shaders.ExampleAxpyBindings {
				y := c.InOut(shadertest.Rand(2, 4)).Range()
				y.Size += 16 // binds the guard as well
				return shaders.ExampleAxpyBindings{X: c.Input(shadertest.Rand(1, 8)).Range(), Y: y}
			})
			assert.Empty(t, got, "n=4 stays inside")
			got = run(5, func(c *shadertest.Case) shaders.ExampleAxpyBindings {
				y := c.InOut([]float32{1, 2, 3, 4}).Range()
				y.Size += 16
				return shaders.ExampleAxpyBindings{X: c.Input(shadertest.Rand(1, 8)).Range(), Y: y}
			})
			require.NotEmpty(t, got)
			assert.Contains(t, got[0], "buffer 0: word 1 after its last was overwritten")
		})
	})
}

func TestOptions(t *testing.T) {
	for _, name := range []string{"VKEFFNET_TEST_LOWER", "VKEFFNET_TEST_VALIDATE"} {
		t.Setenv(name, "")
	}
	assert.Equal(t, &vk.Options{CacheDir: "off"}, shadertest.Options())
	t.Setenv("VKEFFNET_TEST_LOWER", "1")
	t.Setenv("VKEFFNET_TEST_VALIDATE", "1")
	assert.Equal(t, &vk.Options{CacheDir: "off", Validate: true, Lower: &shadertest.LowerLimits, Disable: []string{"subgroup"}}, shadertest.Options())
}
