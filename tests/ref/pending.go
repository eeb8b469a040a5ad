package ref

import (
	"math"

	"github.com/seed-8d806880/vkeffnet/kernels"
)

// Act returns act(z) and act'(z).
func Act(a kernels.Act, z float64) (u, d float64) {
	if a == kernels.SiLU {
		s := 1 / (1 + math.Exp(-z))
		return z * s, s * (1 + z*(1-s))
	}
	return z, 1
}

// Tensor is a raw output y [N HW C] and what is pending on it: BN [6][C], Gate [N][C].
type Tensor struct{ Raw, BN, Gate []float64 }

// Value returns the values of t: y after batch norm, activation and gate, as far as p names them.
func Value(p kernels.Pending, t Tensor, n, hw, c int) []float64 {
	v := make([]float64, n*hw*c)
	for i := range v {
		ch, img := i%c, i/(hw*c)
		z := t.Raw[i]
		if p.BN {
			z = t.BN[c+ch]*(z-t.BN[ch]) + t.BN[2*c+ch]
		}
		v[i], _ = Act(p.Act, z)
		if p.Gate {
			v[i] *= t.Gate[img*c+ch]
		}
	}
	return v
}

// Grad holds the stored parts of a gradient: G and Y [N PQ K], BN [6][K], Keep [N], Gate and E [N][K].
type Grad struct{ G, Y, BN, Keep, Gate, E []float64 }

// DY returns the gradient of the raw output that in builds from the parts of g.
func DY(in kernels.GradIn, g Grad, n, pq, k int) []float64 {
	dy := make([]float64, n*pq*k)
	for i := range dy {
		ch, img := i%k, i/(pq*k)
		var dz float64
		if !in.NoG {
			dz = g.G[i]
		}
		if in.Keep {
			dz *= g.Keep[img]
		}
		if in.Gate {
			if !in.NoG {
				dz *= g.Gate[img*k+ch]
			}
			dz += g.E[img*k+ch]
		}
		if in.Act != kernels.NoAct {
			_, d := Act(in.Act, g.BN[k+ch]*(g.Y[i]-g.BN[ch])+g.BN[2*k+ch])
			dz *= d
		}
		if in.BN {
			dz = g.BN[k+ch]*dz + g.BN[4*k+ch]*(g.Y[i]-g.BN[ch]) + g.BN[5*k+ch]
		}
		dy[i] = dz
	}
	return dy
}

// SinkArgs holds what a sink reads: Add and Y [N HW C], BN [6][C], Keep [N].
type SinkArgs struct{ Add, Y, BN, Keep []float64 }

// Sink disposes of du [N HW C] as kernels.Sink says. It returns what is written to dx and the sums over all pixels:
// [2][C], or with SE [N][3][C]; nil if none are taken.
func Sink(s kernels.Sink, du []float64, a SinkArgs, n, hw, c int) (dx, sums []float64) {
	dx = make([]float64, n*hw*c)
	act := s.Act != kernels.NoAct
	if s.SE {
		sums = make([]float64, n*3*c)
	} else if act || s.Sums {
		sums = make([]float64, 2*c)
	}
	for i := range dx {
		ch, img := i%c, i/(hw*c)
		q := du[i]
		if s.Add {
			q += a.Add[i]
		}
		dx[i] = q
		if sums == nil {
			continue
		}
		u, d := Act(s.Act, a.BN[c+ch]*(a.Y[i]-a.BN[ch])+a.BN[2*c+ch])
		yhat := (a.Y[i] - a.BN[ch]) * a.BN[3*c+ch]
		if s.SE {
			sums[(img*3)*c+ch] += q * u
			sums[(img*3+1)*c+ch] += q * d
			sums[(img*3+2)*c+ch] += q * d * yhat
			continue
		}
		dz := q * d
		if s.Keep {
			dz *= a.Keep[img]
		}
		sums[ch] += dz
		sums[c+ch] += dz * yhat
		if act && !s.SumsOnly {
			dx[i] = dz
		}
	}
	return dx, sums
}

// Stats returns the mean of every channel of y [rows][C] and M2, the sum of squared deviations from it: [2][C].
func Stats(y []float64, c int) []float64 {
	s := make([]float64, 2*c)
	rows := len(y) / c
	for ch := range c {
		for r := range rows {
			s[ch] += y[r*c+ch] / float64(rows)
		}
		for r := range rows {
			d := y[r*c+ch] - s[ch]
			s[c+ch] += d * d
		}
	}
	return s
}

// MergeStats combines the partial statistics [parts][2][C] and counts [parts] that a forward kernel writes into the
// mean and M2 of all rows: [2][C].
func MergeStats(stats []float64, parts, c int) []float64 {
	out := make([]float64, 2*c)
	count := stats[parts*2*c:]
	for ch := range c {
		var n, mean, m2 float64
		for p := range parts {
			nb := count[p]
			if nb == 0 {
				continue
			}
			d := stats[p*2*c+ch] - mean
			mean += d * nb / (n + nb)
			m2 += stats[p*2*c+c+ch] + d*d*n*nb/(n+nb)
			n += nb
		}
		out[ch], out[c+ch] = mean, m2
	}
	return out
}

// MergeSums adds partial sums [n][parts][rows][C] over parts: [n][rows][C].
func MergeSums(sums []float64, n, parts, rowLen int) []float64 {
	out := make([]float64, n*rowLen)
	for i := range n {
		for p := range parts {
			for j := range rowLen {
				out[i*rowLen+j] += sums[(i*parts+p)*rowLen+j]
			}
		}
	}
	return out
}
