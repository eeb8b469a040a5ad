package train

import (
	"context"
	"time"
)

// steps is the loop over training steps between two pauses of a run. The host is at most one step ahead of the device: it
// gives the device step n+1, waits for the end of step n, reads that one's figures, and prepares step n+2 while the device
// computes step n+1. It never waits for the step that it has just submitted. A step allocates nothing.
type steps struct {
	t       *trainer
	loader  *Loader
	stage   *stage
	flights []flight // submitted and not read, oldest first
	read    func(*flight, []byte) error
}

// ahead is how many submitted steps may be left unread while the next one is prepared.
const ahead = 1

func newSteps(t *trainer, l *Loader) *steps {
	return &steps{t: t, loader: l, flights: make([]flight, 0, ahead+1), read: t.record}
}

// next gives the device the next batch and reads the figures of the step before.
func (s *steps) next(ctx context.Context) error {
	asked := time.Now()
	b, err := s.loader.Next(ctx)
	if err != nil {
		return err
	}
	s.t.window.wait += time.Since(asked)
	f, err := s.stage.pipe.submit(b, s.t.scalars(b.StepSettings))
	if err != nil {
		return err
	}
	s.flights = append(s.flights, f)
	s.t.step++
	return s.flush(ctx, ahead)
}

// flush waits for the steps in flight but the last keep and reads their figures.
func (s *steps) flush(ctx context.Context, keep int) error {
	n := max(len(s.flights)-keep, 0)
	err := drain(ctx, s.flights[:n], s.read)
	s.flights = append(s.flights[:0], s.flights[n:]...)
	return err
}

// end waits for all that the device was given: nothing may be freed that it still uses.
func (s *steps) end(ctx context.Context) {
	for i := range s.flights {
		_, _ = s.flights[i].wait(context.WithoutCancel(ctx))
		s.flights[i].batch.Release()
	}
	s.flights = s.flights[:0]
}
