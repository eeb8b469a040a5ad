package train

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

const (
	lineInterval = 5 * time.Second // between lines where there is no bar
	averageTime  = 3 * time.Second // time constant of the averages of speed and loss
)

// Progress shows how far a run is, its speed, its loss and the time that is left: as a bar on a terminal, else as a line
// every five seconds. It is for one goroutine.
type Progress struct {
	plan  *Plan
	batch int
	w     io.Writer // what is printed beside the bar
	now   func() time.Time

	bars *mpb.Progress // nil: lines
	bar  *mpb.Bar
	text atomic.Pointer[string] // what stands behind the bar, which is drawn by a goroutine of its own

	done     int
	moved    bool      // by a step
	last     time.Time // when the last step was reported
	lastLine time.Time
	speed    average // units of cost a second
	loss     average
}

// average is a mean over the last few seconds: weights decay with averageTime.
type average struct{ sum, weight float64 }

func (a *average) add(x, seconds float64) {
	keep := math.Exp(-seconds / averageTime.Seconds())
	a.sum = a.sum*keep + x*(1-keep)
	a.weight = a.weight*keep + (1 - keep)
}

// value is not a number before the first add.
func (a *average) value() float64 { return a.sum / a.weight }

// NewProgress shows on w a run of a plan in batches of a size, which goes on after done steps. The caller closes it.
func NewProgress(w io.Writer, plan *Plan, batch, done int) *Progress {
	return newProgress(w, plan, batch, done, isTerminal(w), time.Now)
}

func newProgress(w io.Writer, plan *Plan, batch, done int, terminal bool, now func() time.Time) *Progress {
	p := &Progress{plan: plan, batch: batch, w: w, now: now, done: done, last: now(), lastLine: now()}
	if !terminal {
		return p
	}
	p.text.Store(new(string))
	p.bars = mpb.New(mpb.WithOutput(w), mpb.WithAutoRefresh())
	p.bar = p.bars.New(int64(plan.Steps), mpb.BarStyle().Lbound("").Rbound("").Filler("━").Tip("━").Padding("┄"),
		mpb.BarFillerTrim(), mpb.BarWidth(20),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + *p.text.Load() })))
	p.bar.SetCurrent(int64(done))
	p.w = p.bars
	return p
}

// Step tells that so many steps of the run are done, and the loss of the last one.
func (p *Progress) Step(done int, loss float64) {
	now := p.now()
	seconds := max(now.Sub(p.last).Seconds(), 1e-6)
	cost := 0.0
	for step := p.done; step < done; step++ {
		cost += p.cost(step)
	}
	p.speed.add(cost/seconds, seconds)
	if !math.IsNaN(loss) && !math.IsInf(loss, 0) { // else the step was skipped
		p.loss.add(loss, seconds)
	}
	p.done, p.last, p.moved = done, now, true
	if p.bar != nil {
		text := p.String()
		p.text.Store(&text)
		p.bar.SetCurrent(int64(done))
		return
	}
	if done == p.plan.Steps || now.Sub(p.lastLine) >= lineInterval {
		p.lastLine = now
		fmt.Fprintln(p.w, p)
	}
}

// cost is what a step costs beside others: images of twice the size have four times the pixels.
func (p *Progress) cost(step int) float64 {
	size := float64(p.plan.Stages[p.plan.StageAt(step)].Size)
	return size * size
}

// left is the time that the rest of the run takes at this speed; larger images of later stages are allowed for.
func (p *Progress) left() time.Duration {
	cost := 0.0
	for i, s := range p.plan.Stages {
		begin, end := p.plan.Bounds(i)
		cost += float64(max(end-max(begin, p.done), 0)) * float64(s.Size) * float64(s.Size)
	}
	seconds := cost / p.speed.value()
	if math.IsNaN(seconds) || seconds > math.MaxInt64/1e9 {
		return 0
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second)
}

// String returns the line that is shown: "stage 2/3 24x24 step 120/560 812 images/s loss 1.2345 left 1m3s".
func (p *Progress) String() string {
	at := p.plan.At(max(p.done-1, 0)) // the step that was done last
	rate := p.speed.value() / p.cost(at.Step) * float64(p.batch)
	return fmt.Sprintf("stage %d/%d %dx%d step %d/%d %.4g images/s loss %.4f left %v",
		at.Stage+1, len(p.plan.Stages), at.Size, at.Size, p.done, p.plan.Steps, rate, p.loss.value(), p.left())
}

// Status shows what the run is busy with behind the bar, where there is one, until the next step. Any goroutine may call it.
func (p *Progress) Status(text string) {
	if p.bar != nil {
		p.text.Store(&text)
	}
}

// Pause forgets the time since the last step, which was spent on something else: call it after an evaluation.
func (p *Progress) Pause() { p.last = p.now() }

// Print writes lines of text, above the bar where there is one.
func (p *Progress) Print(text string) {
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	io.WriteString(p.w, text)
}

// Close leaves the bar as it is, or takes one away that no step has moved, and ends its goroutine.
func (p *Progress) Close() {
	if p.bar == nil {
		return
	}
	p.bar.Abort(!p.moved) // does nothing to a bar that is full
	p.bars.Wait()
}
