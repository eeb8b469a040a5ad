package ref

import "github.com/seed-8d806880/vkeffnet/kernels"

// Apply returns value(x)*keep[n] + skip [N HW C]; keep and skip may be nil.
func Apply(p kernels.Pending, x Tensor, keep, skip []float64, n, hw, c int) []float64 {
	out := Value(p, x, n, hw, c)
	for i := range out {
		if keep != nil {
			out[i] *= keep[i/(hw*c)]
		}
		if skip != nil {
			out[i] += skip[i]
		}
	}
	return out
}
