package table

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bytes formats a size with three significant digits in binary units: "7.63 GiB".
func Bytes(n int64) string {
	x, unit := float64(n), ""
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if x < 1000 {
			break
		}
		x, unit = x/1024, u
	}
	if unit == "" {
		return fmt.Sprintf("%d B", n)
	}
	return digits(x) + " " + unit
}

// Count formats a number with three significant digits and a decimal suffix: "5.31 G".
func Count(x float64) string {
	unit := ""
	for _, u := range []string{"k", "M", "G", "T", "P"} {
		if x < 999.5 {
			break
		}
		x, unit = x/1000, " "+u
	}
	return digits(x) + unit
}

// Millis formats a duration in milliseconds with three significant digits.
func Millis(d time.Duration) string { return digits(float64(d) / 1e6) }

// Percent formats a share of 1.
func Percent(x float64) string { return fmt.Sprintf("%.1f%%", 100*x) }

// Bar draws the part [from, to] of 1 as a bar in a field of width columns, in half columns. A part that is not empty is
// at least half a column long.
func Bar(from, to float64, width int) string {
	halves := 2 * width
	lo := min(max(int(from*float64(halves)+0.5), 0), halves)
	hi := min(max(int(to*float64(halves)+0.5), lo), halves)
	if lo == hi && to > from {
		lo = min(lo, halves-1)
		hi = lo + 1
	}
	var b strings.Builder
	for i := 0; i < hi; i += 2 {
		switch {
		case i+2 <= lo:
			b.WriteByte(' ')
		case i < lo:
			b.WriteRune('▐')
		case i+1 == hi:
			b.WriteRune('▌')
		default:
			b.WriteRune('█')
		}
	}
	return b.String()
}

// Cut shortens a text to at most width characters, the last of which then says so.
func Cut(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}

// Group formats an integer with commas between the thousands.
func Group(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// digits formats x with three significant digits, and never an exponent.
func digits(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x >= 99.95:
		return fmt.Sprintf("%.0f", x)
	case x >= 9.995:
		return fmt.Sprintf("%.1f", x)
	case x >= 0.9995:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.3f", x)
}
