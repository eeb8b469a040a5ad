package vk

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	vulkan "github.com/vulkan-go/vulkan"

	"github.com/seed-8d806880/vkeffnet/vk/internal/raw"
)

// Program is a recording that the device replays. Its methods are safe for concurrent use.
//
// Its calls lie in segments, one command buffer each. The first replay submits them one by one and measures
// them; segments over the budget are cut and measured again, and then neighbours are grouped into submissions
// that stay within it.
type Program struct {
	d       *Device
	name    string
	ops     []op
	infos   []CallInfo
	budget  time.Duration
	stamped bool

	mu          sync.Mutex
	released    bool
	descriptors vulkan.DescriptorPool
	sets        []vulkan.DescriptorSet
	unused      []*Buffer // bound in place of zero Ranges
	queries     vulkan.QueryPool
	pool        vulkan.CommandPool
	segments    []segment
	groups      []group // empty until all segments are measured
	slots       [2]slot // replays that may be under way at a time; one only with timestamps
	turn        int     // of the slot that the next replay takes
	ran         bool    // a replay has ended
	submitTime  time.Duration
	stamps      []uint64
}

// segment is ops [first, last) in one command buffer.
type segment struct {
	first, last int
	commands    vulkan.CommandBuffer
	time        time.Duration // measured
}

// group is one vkQueueSubmit.
type group struct {
	first, last int // ops
	commands    []vulkan.CommandBuffer
}

// slot is one replay under way.
type slot struct {
	fences []vulkan.Fence // at least one per group
	serial uint64         // of the submission
	groups []group        // what is submitted; like sent and done changed under flight.mu
	sent   int            // groups submitted
	done   int            // groups known to have ended
}

func (s *slot) busy() bool { return s.done < s.sent }

// flight lists what is under way on a device, for the error of its loss.
type flight struct {
	mu    sync.Mutex
	slots map[*slot]*Program
}

// Submission is one replay of a program; the zero value is none and must not be used.
type Submission struct {
	p      *Program
	slot   *slot
	serial uint64
}

var errReleased = errors.New("vk: the program is released")

// Submit starts a replay; it waits if two are under way already. The first replays, which are measured, are
// over when Submit returns. The error unwraps to ErrDeviceLost if the device is lost.
func (p *Program) Submit() (Submission, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.submit(context.Background())
	if err != nil {
		return Submission{}, err
	}
	return Submission{p, s, s.serial}, nil
}

// Run replays the program and waits for its end. If ctx ends first, Run returns its error and the replay goes
// on; Release and the next replays wait for it.
func (p *Program) Run(ctx context.Context) error {
	p.mu.Lock()
	s, err := p.submit(ctx)
	if err != nil {
		p.mu.Unlock()
		return err
	}
	serial := s.serial
	p.mu.Unlock()
	return p.wait(ctx, s, serial)
}

func (p *Program) submit(ctx context.Context) (*slot, error) {
	if p.released {
		return nil, errReleased
	}
	start := time.Now()
	s := &p.slots[p.turn]
	if err := p.finish(ctx, s); err != nil {
		return nil, err
	}
	if !p.stamped {
		p.turn = 1 - p.turn
	}
	s.serial++
	d := p.d
	d.queue.Lock()
	defer d.queue.Unlock()
	if len(p.groups) == 0 && len(p.segments) > 0 {
		return s, p.measure(s)
	}
	s.load(d, p.groups)
	for range p.groups {
		if err := p.send(s); err != nil {
			return nil, err
		}
	}
	p.submitTime = time.Since(start)
	return s, nil
}

// load prepares a slot for the submission of groups.
func (s *slot) load(d *Device, groups []group) {
	d.flight.mu.Lock()
	defer d.flight.mu.Unlock()
	s.groups, s.sent, s.done = groups, 0, 0
}

// send submits the next group; the queue is locked.
func (p *Program) send(s *slot) error {
	d, fence, commands := p.d, s.fences[s.sent], s.groups[s.sent].commands
	if err := d.do("vkResetFences", func() vulkan.Result { return raw.ResetFence(d.handle, fence) }); err != nil {
		return err
	}
	err := d.do("vkQueueSubmit", func() vulkan.Result { return raw.Submit(d.queue.handle, commands, fence) })
	if submitted(err) {
		d.flight.mu.Lock()
		s.sent++
		d.flight.slots[s] = p
		d.flight.mu.Unlock()
	}
	return d.inFlight(err)
}

// measure replays segment by segment and keeps their times. Segments that took longer than the budget are cut
// into as many as would fit; when there are none such, neighbours are grouped. The queue is locked. A context
// cannot end it: half a replay would leave half-written memory behind.
func (p *Program) measure(s *slot) error {
	if err := p.needFences(1); err != nil {
		return err
	}
	var long []segment
	for i := range p.segments {
		g := &p.segments[i]
		s.load(p.d, []group{{g.first, g.last, []vulkan.CommandBuffer{g.commands}}})
		start := time.Now()
		err := p.send(s)
		if submitted(err) {
			err = errors.Join(err, p.finish(context.Background(), s))
		}
		if err != nil {
			return err
		}
		g.time = time.Since(start)
		if g.time <= p.budget {
			continue
		}
		if g.last-g.first > 1 {
			long = append(long, *g)
		} else {
			level := slog.LevelWarn
			if p.d.IsCPU() { // its first replay compiles, and no watchdog waits for it
				level = slog.LevelDebug
			}
			p.d.log.Log(context.Background(), level, "one call takes longer than the budget of a submission", "program", p.name, "call", p.infos[g.first].Label, "time", g.time, "budget", p.budget)
		}
	}
	for _, g := range long {
		parts := int(g.time/p.budget) + 1
		n := (g.last - g.first + parts - 1) / parts
		err := p.cut(span{int64(g.first), int64(g.last)}, func(calls int, _, _ int64) bool { return calls >= n })
		if err != nil {
			return err
		}
	}
	if len(long) == 0 {
		return p.group()
	}
	return nil
}

// group joins neighbouring segments into submissions within the budget.
func (p *Program) group() error {
	var sum time.Duration
	var groups []group
	for i, s := range p.segments {
		if sum += s.time; i == 0 || sum > p.budget {
			groups = append(groups, group{first: s.first})
			sum = s.time
		}
		g := &groups[len(groups)-1]
		g.last = s.last
		g.commands = append(g.commands, s.commands)
	}
	if err := p.needFences(len(groups)); err != nil {
		return err
	}
	p.groups = groups
	return nil
}

func (p *Program) needFences(n int) error {
	for i := range p.slots {
		for s := &p.slots[i]; len(s.fences) < n; {
			fence, err := p.d.newFence()
			if fence != nil {
				s.fences = append(s.fences, fence)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// finish waits for the end of the replay in a slot. Its own error is that of waiting; p is locked.
func (p *Program) finish(ctx context.Context, s *slot) error {
	d := p.d
	for s.busy() {
		timeout := ^uint64(0)
		if ctx.Err() != nil {
			timeout = 0
		} else if ctx.Done() != nil {
			timeout = uint64(500 * time.Millisecond) // how late the end of ctx may be noticed
		}
		fence := s.fences[s.sent-1] // signalled when all that was submitted before it has ended too
		r, err := d.wait("vkWaitForFences", func() vulkan.Result { return raw.WaitFence(d.handle, fence, timeout) })
		if err != nil {
			p.passed(s)
			err = d.inFlight(err)
		}
		if err == nil && r == vulkan.Timeout {
			if err := ctx.Err(); err != nil {
				return err
			}
			continue
		}
		d.flight.mu.Lock()
		s.done = s.sent // also after an error: a lost device finishes nothing
		delete(d.flight.slots, s)
		p.ran = true
		d.flight.mu.Unlock()
		return err
	}
	return nil
}

// passed counts the groups of a slot that have ended, for the error of a lost device.
func (p *Program) passed(s *slot) {
	d := p.d
	d.flight.mu.Lock()
	defer d.flight.mu.Unlock()
	for s.done < s.sent-1 && raw.WaitFence(d.handle, s.fences[s.done], 0) == vulkan.Success {
		s.done++
	}
}

// inFlight adds to the error of a lost device the labels of all calls that were under way.
func (d *Device) inFlight(err error) error {
	if err == nil {
		return nil // before anything is allocated
	}
	e := new(Error)
	if !errors.As(err, &e) || e.Result != DeviceLost {
		return err
	}
	d.flight.mu.Lock()
	defer d.flight.mu.Unlock()
	for s, p := range d.flight.slots {
		for _, g := range s.groups[s.done:s.sent] {
			for _, info := range p.infos[g.first:g.last] {
				e.InFlight = append(e.InFlight, info.Label)
			}
		}
	}
	return err
}

func (p *Program) wait(ctx context.Context, s *slot, serial uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.serial != serial || p.released {
		return nil // a later replay took the slot, after this one had ended
	}
	return p.finish(ctx, s)
}

// Wait waits for the end of the replay, or of ctx. What the replay wrote to mapped memory can then be read.
func (s Submission) Wait(ctx context.Context) error { return s.p.wait(ctx, s.slot, s.serial) }

// Done reports whether the replay has ended.
func (s Submission) Done() (bool, error) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := s.Wait(ctx)
	if errors.Is(err, context.Canceled) {
		return false, nil
	}
	return err == nil, err
}

// SubmitTime is the time that the host spent to submit the last replay that was not measured.
func (p *Program) SubmitTime() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.submitTime
}

// Release waits for replays under way and frees the program. It is nil-safe and idempotent.
func (p *Program) Release() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return
	}
	p.released = true
	d := p.d
	for i := range p.slots {
		s := &p.slots[i]
		for s.busy() {
			_ = p.finish(context.Background(), s) // whoever waits for the replay gets its error
		}
		for _, f := range s.fences {
			d.freeFence(f)
		}
		s.fences = nil
	}
	d.freeCommandPool(p.pool)
	if p.descriptors != nil {
		vulkan.DestroyDescriptorPool(d.handle, p.descriptors, nil)
		d.remove(objDescriptorPool)
	}
	if p.queries != nil {
		vulkan.DestroyQueryPool(d.handle, p.queries, nil)
		d.remove(objQueryPool)
	}
	for _, b := range p.unused {
		b.Release()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.programs, p)
}
