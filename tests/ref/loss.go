package ref

import "math"

// Label is what an image shows: Lambda of class A and the rest of class B, times Weight.
type Label struct {
	A, B           uint32
	Lambda, Weight float64
}

// Targets returns the soft targets [N][ld] of labels; columns from classes on are 0.
func Targets(labels []Label, classes, ld int, smoothing float64) []float64 {
	t := make([]float64, len(labels)*ld)
	for n, l := range labels {
		row := t[n*ld:][:classes]
		for j := range row {
			row[j] = l.Weight * smoothing / float64(classes)
		}
		row[l.A] += l.Weight * (1 - smoothing) * l.Lambda
		row[l.B] += l.Weight * (1 - smoothing) * (1 - l.Lambda)
	}
	return t
}

// rank is the number of logits that come before logit j: greater ones, and equal ones with a smaller index.
func rank(z []float64, j int) int {
	before := 0
	for i, v := range z {
		if v > z[j] || v == z[j] && i < j {
			before++
		}
	}
	return before
}

// Loss returns {cross-entropy, top-1 hit, top-5 hit, 0} of each row of logits and targets [N][ld], and the gradient of
// lossScale times the mean cross-entropy.
func Loss(logits, targets []float64, classes, ld int, lossScale float64) (out, dLogits []float64) {
	n := len(logits) / ld
	out, dLogits = make([]float64, 4*n), make([]float64, n*ld)
	for i := range n {
		z, t := logits[i*ld:][:classes], targets[i*ld:][:classes]
		largest, best, sum, mass := z[0], 0, 0.0, 0.0
		for j, v := range z {
			largest = math.Max(largest, v)
			mass += t[j]
			if t[j] > t[best] {
				best = j
			}
		}
		for _, v := range z {
			sum += math.Exp(v - largest)
		}
		logSum := largest + math.Log(sum)
		for j, v := range z {
			out[4*i] -= t[j] * (v - logSum)
			dLogits[i*ld+j] = (math.Exp(v-logSum)*mass - t[j]) * lossScale / float64(n)
		}
		for k, limit := range [2]int{1, 5} {
			if mass > 0 && rank(z, best) < limit {
				out[4*i+1+k] = 1
			}
		}
	}
	return out, dLogits
}

// Metrics returns {mean loss, sum of top-1, sum of top-5, gradient norm, not-finite flag, loss scale, skipped steps, 0} of
// Loss's rows and GradNorm's result.
func Metrics(loss, norm []float64, skipped int) []float64 {
	m := make([]float64, 8)
	n := len(loss) / 4
	for i := range n {
		m[0] += loss[4*i] / float64(n)
		m[1] += loss[4*i+1]
		m[2] += loss[4*i+2]
	}
	m[3], m[5], m[6] = norm[0], norm[3], float64(skipped)
	if norm[2] != 0 || math.IsNaN(m[0]) || math.IsInf(m[0], 0) {
		m[4] = 1
	}
	return m
}

// BiasGrad returns the sum of the rows of dy [N][k].
func BiasGrad(dy []float64, k int) []float64 {
	db := make([]float64, k)
	for i, v := range dy {
		db[i%k] += v
	}
	return db
}
