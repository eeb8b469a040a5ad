package train

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
)

// Number is a float64 that JSON can hold: not-a-number and infinities become null, which is read as not-a-number.
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *Number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

// TrainRecord is a line of metrics.jsonl on the steps since the line before.
type TrainRecord struct {
	Kind       string  `json:"kind"` // "train"
	Step       int     `json:"step"` // steps done
	Epoch      float64 `json:"epoch"`
	Stage      int     `json:"stage"` // from 1
	Size       int     `json:"size"`
	Batch      int     `json:"batch"`
	LR         float64 `json:"lr"`   // of the last of the steps
	Loss       Number  `json:"loss"` // mean over the steps that were not skipped, as Top1 and GradNorm
	Top1       Number  `json:"top1"` // of the augmented training images
	GradNorm   Number  `json:"grad_norm"`
	ImagesPerS float64 `json:"images_per_s"`
	DeviceMS   float64 `json:"device_ms"` // of a step without WaitMS: the device is what the host then waits for
	WaitMS     float64 `json:"wait_ms"`   // of a step, waiting for data
	// LossScale is the last step's; SkippedSteps are those of the run so far whose gradients overflowed.
	LossScale    float64 `json:"loss_scale"`
	SkippedSteps int     `json:"skipped_steps"`
}

// EvalRecord is a line of metrics.jsonl on an evaluation: of the weights, and of their moving average.
type EvalRecord struct {
	Kind       string  `json:"kind"` // "eval"
	Step       int     `json:"step"` // steps done
	Epoch      float64 `json:"epoch"`
	Stage      int     `json:"stage"` // from 1
	Size       int     `json:"size"`
	Batch      int     `json:"batch"`
	Images     int     `json:"images"`
	Loss       Number  `json:"loss"`
	Top1       Number  `json:"top1"` // 0 to 1
	Top5       Number  `json:"top5"`
	EMALoss    Number  `json:"ema_loss"`
	EMATop1    Number  `json:"ema_top1"`
	EMATop5    Number  `json:"ema_top5"`
	ImagesPerS float64 `json:"images_per_s"`
}

// Metrics appends to a metrics.jsonl. Every line is on its way to the disk when a method returns. It is not safe for
// concurrent use.
type Metrics struct{ f *os.File }

// OpenMetrics opens file for a run that goes on after the given number of steps: lines on later steps, and a last line
// that a crash cut short, are removed. A run that begins with step 0 begins with an empty file. The caller closes it.
func OpenMetrics(file string, steps int) (*Metrics, error) {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("train: %w", err)
	}
	var kept bytes.Buffer
	for steps > 0 && len(old) > 0 {
		line, rest, whole := bytes.Cut(old, []byte("\n"))
		var at struct{ Step int }
		if !whole || json.Unmarshal(line, &at) != nil {
			break
		}
		if at.Step <= steps {
			kept.Write(line)
			kept.WriteByte('\n')
		}
		old = rest
	}
	if err := writeFileAtomic(file, kept.Bytes()); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	return &Metrics{f}, nil
}

// Train appends a line on training steps; it sets Kind.
func (m *Metrics) Train(r TrainRecord) error {
	r.Kind = "train"
	return m.append(r)
}

// Eval appends a line on an evaluation; it sets Kind.
func (m *Metrics) Eval(r EvalRecord) error {
	r.Kind = "eval"
	return m.append(r)
}

func (m *Metrics) append(r any) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("train: metrics: %w", err)
	}
	if _, err := m.f.Write(append(line, '\n')); err != nil {
		return writeError(m.f.Name(), err)
	}
	return nil
}

// Close closes the file.
func (m *Metrics) Close() error { return m.f.Close() }

// ReadMetrics reads a metrics.jsonl. Lines of other kinds are passed over, and so is a last line without an end, which
// is being written.
func ReadMetrics(file string) ([]TrainRecord, []EvalRecord, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, fmt.Errorf("train: %w", err)
	}
	defer f.Close()
	var train []TrainRecord
	var eval []EvalRecord
	in := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return train, eval, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("train: %w", err)
		}
		var kind struct{ Kind string }
		err = json.Unmarshal(line, &kind)
		switch kind.Kind {
		case "train":
			train = append(train, TrainRecord{})
			err = json.Unmarshal(line, &train[len(train)-1])
		case "eval":
			eval = append(eval, EvalRecord{})
			err = json.Unmarshal(line, &eval[len(eval)-1])
		}
		if err != nil {
			return nil, nil, fmt.Errorf("train: %s:%d: %w", file, n, err)
		}
	}
}
