package train_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/seed-8d806880/vkeffnet/train"
)

// The line appears after half a second, counts what all Builds under way create, changes ten times a second at most, and is
// taken away at the end.
func TestCompiling(t *testing.T) {
	clock := time.Unix(0, 0)
	var shown []string
	c := train.NewCompilingAt(func(text string) { shown = append(shown, text) }, func() time.Time { return clock })
	at := func(ms int) { clock = time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }
	one, two := c.Progress(), c.Progress()
	one(0, 3)
	at(400)
	one(1, 3)
	two(0, 5)
	assert.Empty(t, shown)
	at(500)
	two(1, 5)
	at(550)
	two(2, 5)
	assert.Equal(t, []string{"compiling 2 of 8 kernels"}, shown)
	at(700)
	one(2, 3)
	one(3, 3)
	two(3, 5)
	at(1000)
	two(4, 5)
	two(5, 5)
	assert.Equal(t, []string{"compiling 2 of 8 kernels", "compiling 4 of 8 kernels", "compiling 7 of 8 kernels", ""}, shown)

	at(1100) // what is quick is not shown, although much time has passed since the first Build
	shown = nil
	one(0, 100)
	for i := range 100 {
		at(1100 + i)
		one(i+1, 100)
	}
	assert.Empty(t, shown)
	assert.Nil(t, train.NewCompiling(new(bytes.Buffer)), "no terminal")
	assert.Nil(t, train.NewCompiling(nil).Progress())
}
