package train

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// Compiling counts the pipelines that Builds are creating and, while that takes longer than half a second, shows a line:
// "compiling 143 of 312 kernels". It is safe for concurrent use; nil shows nothing.
type Compiling struct {
	show func(text string) // empty: take it away
	now  func() time.Time

	mu          sync.Mutex
	done, total int       // of the Builds under way
	begin, last time.Time // when the first of them began; when the line was last written, zero if there is none
}

// When the line appears, and how often it changes.
const (
	compilingAfter = 500 * time.Millisecond
	compilingEvery = 100 * time.Millisecond
)

// NewCompiling shows the line on w if that is a terminal; otherwise it returns nil.
func NewCompiling(w io.Writer) *Compiling {
	if !isTerminal(w) {
		return nil
	}
	return newCompiling(func(text string) { fmt.Fprintf(w, "\r\x1b[K%s", text) }, time.Now)
}

func newCompiling(show func(string), now func() time.Time) *Compiling {
	return &Compiling{show: show, now: now}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Options are those of a Build that is to be counted.
func (c *Compiling) Options() *vk.BuildOptions { return &vk.BuildOptions{Progress: c.Progress()} }

// Progress returns the function of vk.BuildOptions for one Build, or for several one after the other.
func (c *Compiling) Progress() func(done, total int) {
	if c == nil {
		return nil
	}
	var lastDone, lastTotal int
	return func(done, total int) {
		if done == 0 { // a Build begins, and the one before has ended
			lastDone, lastTotal = 0, 0
		}
		c.add(done-lastDone, total-lastTotal)
		lastDone, lastTotal = done, total
	}
}

func (c *Compiling) add(done, total int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.total == 0 {
		c.begin = now
	}
	c.done += done
	c.total += total
	switch {
	case c.done == c.total:
		c.done, c.total = 0, 0
		if !c.last.IsZero() {
			c.last = time.Time{}
			c.show("")
		}
	case now.Sub(c.begin) >= compilingAfter && now.Sub(c.last) >= compilingEvery:
		c.last = now
		c.show(fmt.Sprintf("compiling %d of %d kernels", c.done, c.total))
	}
}
