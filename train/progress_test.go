package train_test

import (
	"bytes"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/seed-8d806880/vkeffnet/train"
)

var progressPlan = &train.Plan{Steps: 40, StepsPerEpoch: 10, Stages: train.Linear(2, train.Stage{Size: 10}, train.Stage{Size: 20})}

// TestProgressLines lets 20 steps of 10x10 take a second each and then 20 of 20x20 four, in batches of 8.
func TestProgressLines(t *testing.T) {
	var b bytes.Buffer
	clock := time.Unix(0, 0)
	p := train.NewProgressAt(&b, progressPlan, 8, 0, false, func() time.Time { return clock })
	for step := range 40 {
		clock = clock.Add(time.Second << (2 * (step / 20)))
		p.Step(step+1, 2)
		if step == 29 {
			p.Print("evaluated")
			clock = clock.Add(time.Hour)
			p.Pause()
		}
	}
	p.Close()
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	assert.Equal(t, "stage 1/2 10x10 step 5/40 8 images/s loss 2.0000 left 1m35s", lines[0], "15 s and 20 of 4 s")
	assert.Equal(t, "stage 2/2 20x20 step 40/40 2 images/s loss 2.0000 left 0s", lines[len(lines)-1])
	assert.Contains(t, lines, "evaluated")
	assert.Less(t, len(lines), 20, "not a line a step")
}

func TestProgressResumed(t *testing.T) {
	var b bytes.Buffer
	clock := time.Unix(0, 0)
	p := train.NewProgressAt(&b, progressPlan, 8, 30, false, func() time.Time { return clock })
	clock = clock.Add(20 * time.Second)
	p.Step(35, 1)
	p.Close()
	assert.Equal(t, "stage 2/2 20x20 step 35/40 2 images/s loss 1.0000 left 20s\n", b.String())
}

// locked is a buffer that two goroutines may use.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestProgressBar draws the bar of a whole run and of one that stops early, and leaves no goroutine.
func TestProgressBar(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, steps := range []int{40, 7} {
		var out locked
		p := train.NewProgressAt(&out, progressPlan, 8, 0, true, time.Now)
		p.Status("compiling 2 of 8 kernels")
		assert.Eventually(t, func() bool { return strings.Contains(out.String(), "compiling 2 of 8 kernels") }, time.Minute, time.Millisecond)
		p.Step(steps, 1.5)
		p.Print("a line above")
		p.Close()
		assert.Contains(t, out.String(), "a line above\n")
		assert.Contains(t, out.String(), "━")
		assert.Contains(t, out.String(), "loss 1.5000")
	}
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines leak", runtime.NumGoroutine()-before)
}
