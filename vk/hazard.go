package vk

import "slices"

// spans is a set of bytes: ascending spans that neither overlap nor touch.
type spans []span

// overlaps reports whether any byte of x is in the set.
func (s spans) overlaps(x span) bool {
	i := s.search(x.lo + 1)
	return i < len(s) && s[i].lo < x.hi
}

// add puts the bytes of x into the set.
func (s *spans) add(x span) {
	i := s.search(x.lo) // the first that x could touch
	j := i
	for j < len(*s) && (*s)[j].lo <= x.hi {
		x.lo, x.hi = min(x.lo, (*s)[j].lo), max(x.hi, (*s)[j].hi)
		j++
	}
	*s = slices.Replace(*s, i, j, x)
}

// search returns the index of the first span that ends at or after at.
func (s spans) search(at int64) int {
	i, _ := slices.BinarySearchFunc(s, at, func(x span, at int64) int {
		if x.hi < at {
			return -1
		}
		return 1
	})
	return i
}

// access is one use of a range by a call.
type access struct {
	r Range
	a Access
}

// hazards knows which bytes of which buffers were read and written since the last barrier. One barrier orders
// everything before it with everything after it, so that the knowledge starts anew.
type hazards struct {
	read, written map[*Buffer]*spans
}

func newHazards() *hazards { return &hazards{map[*Buffer]*spans{}, map[*Buffer]*spans{}} }

// conflict reports whether a call must not overlap one since the last barrier: it reads what was written
// (RAW), or writes what was read (WAR) or written (WAW).
func (h *hazards) conflict(uses []access) bool {
	for _, u := range uses {
		x := span{u.r.Off, u.r.Off + u.r.Size}
		if w := h.written[u.r.Buf]; w != nil && w.overlaps(x) {
			return true
		}
		if r := h.read[u.r.Buf]; u.a&Write != 0 && r != nil && r.overlaps(x) {
			return true
		}
	}
	return false
}

// add notes the uses of a call.
func (h *hazards) add(uses []access) {
	note := func(m map[*Buffer]*spans, r Range) {
		s := m[r.Buf]
		if s == nil {
			s = new(spans)
			m[r.Buf] = s
		}
		s.add(span{r.Off, r.Off + r.Size})
	}
	for _, u := range uses {
		if u.a&Read != 0 {
			note(h.read, u.r)
		}
		if u.a&Write != 0 {
			note(h.written, u.r)
		}
	}
}

// barrier forgets everything.
func (h *hazards) barrier() {
	clear(h.read)
	clear(h.written)
}
