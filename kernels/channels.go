package kernels

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// The kernels of this file's users let an invocation own 4 neighbouring channels, so that a row of a workgroup reads
// contiguous memory; C4 is C/4.

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// largestDivisor is the largest divisor of n up to most.
func largestDivisor(n, most int) int {
	for d := min(n, most); ; d-- {
		if n%d == 0 {
			return d
		}
	}
}

func roundUp(a, b int64) int64 { return (a + b - 1) / b * b }

// The variants of these kernels differ only in how the work is cut up. Narrow has small workgroups and long walks: on a
// CPU driver a subgroup is one vector, and workgroups are what runs in parallel. Wide has many invocations, for GPUs.
const (
	narrowVariant = "narrow"
	wideVariant   = "wide"
)

// cutVariant resolves a variant's name; the empty one means the device's own.
func cutVariant(dev *vk.Device, op, name string) (string, error) {
	switch {
	case name == "":
		return shippedChoices[deviceClass(dev)].lanes, nil
	case name == narrowVariant, name == wideVariant:
		return name, nil
	}
	return "", &ShapeError{Op: op, Got: fmt.Sprintf("variant %q", name), Want: "narrow or wide"}
}

// channelLanes returns a workgroup of x invocations along c4 channel groups and y along up to items things that do not
// depend on each other, with few invocations idle.
func channelLanes(dev *vk.Device, variant string, c4, items int) (x, y int) {
	most := 128
	if variant == narrowVariant {
		most = 8
	}
	most = min(most, int(dev.Limits().Invocations))
	x = ceilDiv(c4, ceilDiv(c4, most))
	return x, max(min(most/x, items), 1)
}

// reduceLanes is channelLanes for y invocations that share a sum of items terms and add their parts in shared memory.
func reduceLanes(dev *vk.Device, variant string, c4, items int) (x, y int) {
	x = min(c4, 8) // 128 bytes
	if variant == narrowVariant {
		return x, max(min(items/64, 8), 1) // a barrier costs as much as adding tens of terms
	}
	most := min(256, int(dev.Limits().Invocations))
	return x, max(min(most/x, items), 1)
}

// imagesPerCall is how many images one call of a kernel takes: all n where the bindings allow it, else as many as keep every
// binding within Limits.MaxRange and every offset aligned.
func imagesPerCall(dev *vk.Device, op string, n int, perImage ...int64) (int, error) {
	l := dev.Limits()
	step, most := 1, n
	for _, size := range perImage {
		g := gcd(size, int64(l.OffsetAlign))
		step = lcm(step, int(int64(l.OffsetAlign)/g))
		most = min(most, int(l.MaxRange/size))
	}
	most = min(most, int(l.MaxGroups))
	if most == n {
		return n, nil
	}
	if most -= most % step; most == 0 {
		return 0, &vk.UnsupportedError{What: op,
			Needs: fmt.Sprintf("bindings of %d images of %d bytes, more than the limit of %d bytes", step, maxOf(perImage), l.MaxRange)}
	}
	return most, nil
}

func maxOf(x []int64) int64 {
	m := x[0]
	for _, v := range x[1:] {
		m = max(m, v)
	}
	return m
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func lcm(a, b int) int { return a / int(gcd(int64(a), int64(b))) * b }

// imageSlice is the part of r, a tensor of size bytes per image, that holds count images from first on.
func imageSlice(r vk.Range, size int64, first, count int) vk.Range {
	if r.IsZero() {
		return r
	}
	return r.Slice(size*int64(first), size*int64(count))
}

// argument is a buffer that an operation needs and its size in bytes.
type argument struct {
	name string
	r    *vk.Range
	size int64
}

// checkArguments cuts every argument to the size that is needed, and the ones of size 0 to nothing. It fails the
// recording when one is too small.
func checkArguments(rec *vk.Recorder, op string, args ...argument) bool {
	for _, a := range args {
		if a.size == 0 {
			*a.r = vk.Range{}
			continue
		}
		if a.r.IsZero() || a.r.Size < a.size {
			rec.Fail(&ShapeError{Op: op, Got: fmt.Sprintf("%s of %d bytes", a.name, a.r.Size), Want: fmt.Sprintf("%d bytes", a.size)})
			return false
		}
		*a.r = a.r.Slice(0, a.size)
	}
	return true
}

// when is size if the flag is set: the size of an argument that the flag asks for.
func when(flag bool, size int64) int64 {
	if flag {
		return size
	}
	return 0
}

// pendingArguments are what p reads besides the raw tensor.
func pendingArguments(p Pending, x *Tensor, n, c int) []argument {
	return []argument{
		{"x.bn", &x.BN, when(p.BN, 24*int64(c))},
		{"x.gate", &x.Gate, when(p.Gate, 4*int64(n)*int64(c))},
	}
}

// needsY reports whether dy depends on the raw output.
func (g GradIn) needsY() bool { return g.BN || g.Act != NoAct }

// arguments are the buffers that g names; size is that of G and Y.
func (g GradIn) arguments(a *Grad, size int64, n, k int) []argument {
	row := 4 * int64(n) * int64(k)
	return []argument{
		{"dy.g", &a.G, when(!g.NoG, size)},
		{"dy.y", &a.Y, when(g.needsY(), size)},
		{"dy.bn", &a.BN, when(g.needsY(), 24*int64(k))},
		{"dy.keep", &a.Keep, when(g.Keep, 4*int64(n))},
		{"dy.gate", &a.Gate, when(g.Gate && !g.NoG, row)},
		{"dy.e", &a.E, when(g.Gate, row)},
	}
}

// takesSums reports whether s takes sums.
func (s Sink) takesSums() bool { return s.Sums || s.SE || s.Act != NoAct }

// rows is how many sums per channel s takes.
func (s Sink) rows() int {
	if s.SE {
		return 3
	}
	return 2
}

// arguments are the buffers that s names; size is that of DX, Add and Y.
func (s Sink) arguments(a *SinkArgs, size int64, n, c int, sums int64) []argument {
	return []argument{
		{"dx", &a.DX, size},
		{"sink.add", &a.Add, when(s.Add, size)},
		{"sink.y", &a.Y, when(s.takesSums(), size)},
		{"sink.bn", &a.BN, when(s.takesSums(), 24*int64(c))},
		{"sink.keep", &a.Keep, when(s.Keep, 4*int64(n))},
		{"sink.sums", &a.Sums, sums},
	}
}

// check reports combinations that mean nothing.
func (s Sink) check(op string) error {
	switch {
	case s.SE && s.Act == NoAct:
		return &ShapeError{Op: op, Got: "a sink with SE and no activation", Want: "an activation"}
	case s.SE && (s.Keep || s.SumsOnly):
		return &ShapeError{Op: op, Got: "a sink with SE and Keep or SumsOnly", Want: "neither"}
	case s.SumsOnly && s.Act == NoAct:
		return &ShapeError{Op: op, Got: "a sink with SumsOnly and no activation", Want: "Sums"}
	case s.Keep && s.Act != NoAct && !s.SumsOnly:
		return &ShapeError{Op: op, Got: "a sink with Keep and an activation", Want: "SumsOnly with them"}
	}
	return nil
}

// check reports combinations that mean nothing.
func (g GradIn) check(op string) error {
	if g.NoG && !g.Gate {
		return &ShapeError{Op: op, Got: "a gradient with neither G nor E", Want: "Gate with NoG"}
	}
	return nil
}
