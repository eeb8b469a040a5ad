package vk

import (
	"context"
	"time"
)

// Recorder collects the calls of a program.
type Recorder struct {
	d     *Device
	name  string
	calls []CallInfo
	err   error
}

// CallInfo describes a recorded call.
type CallInfo struct {
	Label   string // Call.Label, or "copy" or "fill" and the buffer's name
	Shader  string // Shader.Name, "copy" or "fill"
	Section string // of the last Mark
	Groups  [3]uint32
	Read    int64 // bytes of the bindings that are read
	Written int64
	FLOPs   int64
}

// BuildOptions say how a program is built; nil takes the defaults.
type BuildOptions struct {
	Timestamps bool          // measure the device time of every call
	Budget     time.Duration // wanted longest device time of one submission; 0: 200 ms
}

// NewRecorder returns an empty recorder; name appears in errors.
func (d *Device) NewRecorder(name string) *Recorder { return &Recorder{d: d, name: name} }

// Device is the device of the recorder.
func (r *Recorder) Device() *Device { return r.d }

// Dispatch appends a call.
func (r *Recorder) Dispatch(c Call) {}

// Copy appends a copy of src to dst, which have one size.
func (r *Recorder) Copy(dst, src Range) {}

// Fill appends a fill of dst with a 32-bit word.
func (r *Recorder) Fill(dst Range, word uint32) {}

// Mark starts a named section.
func (r *Recorder) Mark(name string) {}

// Fail keeps err if it is the first.
func (r *Recorder) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Err is the first error.
func (r *Recorder) Err() error { return r.err }

// Calls lists what was recorded.
func (r *Recorder) Calls() []CallInfo { return r.calls }

// Build turns the recording into a program.
func (r *Recorder) Build(ctx context.Context, o *BuildOptions) (*Program, error) { return nil, errTODO }

// Program is a recording that the device can replay.
type Program struct{}

// Submission is one replay of a program.
type Submission struct{}

// Submit starts a replay.
func (p *Program) Submit() (*Submission, error) { return nil, errTODO }

// Run is Submit and Wait.
func (p *Program) Run(ctx context.Context) error { return errTODO }

// Times are the device times of the calls of the last finished run.
func (p *Program) Times() ([]time.Duration, error) { return nil, errTODO }

// Release releases the program.
func (p *Program) Release() {}

// Wait waits for the end of the replay.
func (s *Submission) Wait(ctx context.Context) error { return errTODO }

// Done reports whether the replay has ended.
func (s *Submission) Done() (bool, error) { return false, errTODO }
