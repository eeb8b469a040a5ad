package vk_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/vk"
)

func TestRunReplaysInOrder(t *testing.T) {
	for _, disable := range [][]string{nil, {"unifiedMemory"}} {
		d := open(t, &vk.Options{Disable: disable})
		const n = 1000
		x, y := newBuffer(t, d, "x", 4*n), newBuffer(t, d, "y", 4*n)
		require.NoError(t, d.Upload(x.Range(), repeat(1, n)))
		rec := d.NewRecorder("order")
		rec.Fill(y.Range(), 0)
		for range 100 {
			rec.Dispatch(callSaxpy(2, x.Range(), y.Range())) // y += 2
			rec.Dispatch(callSaxpy(1, y.Range(), x.Range())) // x += y
			rec.Copy(x.Range(), y.Range())                   // x = y
		}
		p, err := rec.Build(context.Background(), nil)
		require.NoError(t, err)
		for range 3 {
			require.NoError(t, d.Upload(x.Range(), repeat(1, n)))
			require.NoError(t, p.Run(context.Background()))
			got := downloadFloats(t, y.Range())
			want := make([]float32, n)
			v := 1.0
			var acc float64
			for range 100 {
				acc += 2 * v
				v = acc
				if acc > 3e38 {
					break
				}
			}
			for i := range want {
				want[i] = float32(acc)
			}
			assert.Equal(t, want, got)
		}
	}
}
