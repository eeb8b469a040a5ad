package shadertest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Tol says how far a result may be from what is wanted. The zero Tol wants every element equal to the wanted number
// rounded to float32.
type Tol struct {
	NMSE  float64 // largest sum (got-want)^2 / sum want^2
	Elem  float64 // largest |got-want| / (|want| + rms(want)) of one element; 0: 10*sqrt(NMSE)
	Shape []int   // optional: shows indices as coordinates
}

// Compare fails the test unless got equals want within tol. NaN and infinities must stand at the same places. The
// message shows the first bad element, the largest error, the NMSE, and the command that runs this test alone.
//
// NMSE alone would let one wrong element hide among many right ones; Tol.Elem does not.
func Compare(t testing.TB, name string, got []float32, want []float64, tol Tol) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s has %d elements, want %d", name, len(got), len(want))
		return
	}
	if msg := difference(got, want, tol); msg != "" {
		t.Errorf("%s: %s\nreproduce: %s", name, msg, reproducer(t))
	}
}

// NMSE is the normalised mean squared error: sum (got-want)^2 / sum want^2. It is 0 where both sums are.
func NMSE(got []float32, want []float64) float64 {
	var num, den float64
	for i, w := range want {
		d := float64(got[i]) - w
		num += d * d
		den += w * w
	}
	if num == 0 {
		return 0
	}
	return num / den
}

// difference describes how got fails tol, or returns "".
func difference(got []float32, want []float64, tol Tol) string {
	for i, w := range want {
		g := float64(got[i])
		if math.IsNaN(g) != math.IsNaN(w) || (math.IsInf(g, 0) || math.IsInf(w, 0)) && g != w {
			what := ""
			if math.Float32bits(got[i]) == outputWord {
				what = " (never written)"
			} else if math.Float32bits(got[i]) == guardWords[0] {
				what = " (read from outside a buffer)"
			}
			return fmt.Sprintf("%s: got %g%s, want %g", place(i, tol.Shape), g, what, w)
		}
	}
	if tol.NMSE == 0 && tol.Elem == 0 {
		for i, w := range want {
			if got[i] != float32(w) && !math.IsNaN(w) {
				return fmt.Sprintf("%s: got %.9g, want %.9g exactly", place(i, tol.Shape), got[i], float32(w))
			}
		}
		return ""
	}

	// The finite part. Its scale, the root mean square, lets small elements carry the rounding of large ones.
	var num, den float64
	n := 0
	for i, w := range want {
		if d := float64(got[i]) - w; !math.IsNaN(d) {
			num += d * d
			den += w * w
			n++
		}
	}
	if num == 0 {
		return ""
	}
	rms, nmse := math.Sqrt(den/float64(n)), num/den
	elem := tol.Elem
	if elem == 0 {
		elem = 10 * math.Sqrt(tol.NMSE)
	}
	firstBad, worst, largest := -1, -1, 0.0
	for i, w := range want {
		d := math.Abs(float64(got[i]) - w)
		if firstBad < 0 && d > elem*(math.Abs(w)+rms) {
			firstBad = i
		}
		if d > largest {
			worst, largest = i, d
		}
	}
	if firstBad < 0 && (tol.NMSE == 0 || nmse <= tol.NMSE) {
		return ""
	}
	at := firstBad
	if at < 0 {
		at = worst
	}
	return fmt.Sprintf("%s: got %.9g, want %.9g; largest error %.3g at %s; NMSE %.3g, want at most %.3g; every element within %.3g*(|want| + %.3g)",
		place(at, tol.Shape), got[at], want[at], largest, place(worst, tol.Shape), nmse, tol.NMSE, elem, rms)
}

// place writes index i, as coordinates when there is a shape.
func place(i int, shape []int) string {
	if len(shape) == 0 {
		return fmt.Sprintf("[%d]", i)
	}
	at := make([]int, len(shape))
	for d, rest := len(shape)-1, i; d >= 0; d-- {
		at[d] = rest
		if d > 0 {
			at[d] = rest % shape[d]
			rest /= shape[d]
		}
	}
	return fmt.Sprint(at)
}

// Rand returns n numbers uniform in [-1, 1), the same for the same seed everywhere.
func Rand(seed uint64, n int) []float32 {
	return RandIn(seed, n, -1, 1)
}

// RandIn returns n numbers uniform in [lo, hi), the same for the same seed everywhere.
func RandIn(seed uint64, n int, lo, hi float32) []float32 {
	r := rand.New(rand.NewPCG(seed, 0))
	x := make([]float32, n)
	for i := range x {
		x[i] = lo + (hi-lo)*r.Float32()
	}
	return x
}

// Float64s widens x, for the Go function that a shader is compared with.
func Float64s(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// reproducer is the command that runs this test alone with the environment that matters.
func reproducer(t testing.TB) string {
	var env []string
	for _, name := range []string{"VK_ICD_FILENAMES", "VK_DRIVER_FILES", "VKEFFNET_TEST_DEVICE", "VKEFFNET_TEST_LOWER", "VKEFFNET_TEST_VALIDATE"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	parts := strings.Split(t.Name(), "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	run := "'" + strings.Join(parts, "/") + "'"
	if pkg, ok := packagePath(); ok {
		return strings.Join(append(env, "go test "+pkg+" -run "+run), " ")
	}
	return strings.Join(append(env, os.Args[0]+" -test.run "+run), " ")
}

// packagePath is the tested package's folder as go test takes it from the top of its module: tests run in it.
func packagePath() (string, bool) {
	dir, err := os.Getwd()
	if err != nil {
		return "", false
	}
	for top := dir; ; top = filepath.Dir(top) {
		if _, err := os.Stat(filepath.Join(top, "go.mod")); err == nil {
			rel, err := filepath.Rel(top, dir)
			return "./" + filepath.ToSlash(rel), err == nil
		}
		if top == filepath.Dir(top) {
			return "", false
		}
	}
}
