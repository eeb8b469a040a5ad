package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// tuningFile is the file of a run that keeps the kernel variants which it began with, by what they hold for: other variants add
// in another order, and a resumed run would not be the same bit for bit.
const tuningFile = "tuning.json"

// writeTuning writes the choices of a run's tuner; a run without one has no such file.
func writeTuning(t *kernels.Tuner, out string) error {
	if t == nil {
		if err := os.Remove(filepath.Join(out, tuningFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return writeError(out, err)
		}
		return nil
	}
	data, err := json.MarshalIndent(t.Choices(), "", " ")
	if err != nil {
		return fmt.Errorf("train: %s: %w", tuningFile, err)
	}
	return writeFileAtomic(filepath.Join(out, tuningFile), append(data, '\n'))
}

// readTuning returns a tuner that makes the choices of the run in out; nil if that run had none.
func readTuning(dev *vk.Device, out string, log *slog.Logger) (*kernels.Tuner, error) {
	file := filepath.Join(out, tuningFile)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	choices := map[string]string{}
	if err == nil {
		err = json.Unmarshal(data, &choices)
	}
	if err != nil {
		return nil, &TuningError{file, err}
	}
	return kernels.FixedTuner(dev, choices, log), nil
}

// TuningError reports a run's kernel choices that cannot be read.
type TuningError struct {
	File string
	Err  error
}

func (e *TuningError) Error() string {
	return fmt.Sprintf("train: %s: got %v, want the kernel variants that the run began with", e.File, e.Err)
}

func (e *TuningError) Unwrap() error { return e.Err }

// Hint says what a user can do.
func (e *TuningError) Hint() string {
	return "remove the file to go on with the variants that the program ships; results then differ in rounding"
}

// TuneProgress returns what shows on w how far a kernels.Tuner is: one line that changes on a terminal, else a line every five
// seconds.
func TuneProgress(w io.Writer) func(done, total int, label string) {
	return tuneProgress(w, isTerminal(w), time.Now)
}

func tuneProgress(w io.Writer, terminal bool, now func() time.Time) func(done, total int, label string) {
	var begin, last time.Time
	return func(done, total int, label string) {
		if done == 0 {
			begin, last = now(), now()
		}
		switch {
		case label == "":
			if terminal {
				fmt.Fprint(w, "\r\x1b[K")
			}
			fmt.Fprintf(w, "timed the variants of %d operations in %.1f s, for this start and later ones\n", done, now().Sub(begin).Seconds())
			if done < total {
				fmt.Fprintf(w, "%d more keep the shipped variants; the next start goes on\n", total-done)
			}
		case terminal:
			fmt.Fprintf(w, "\r\x1b[Ktuning %d/%d %s", done+1, total, label)
		case now().Sub(last) >= lineInterval:
			last = now()
			fmt.Fprintf(w, "tuning %d/%d %s\n", done+1, total, label)
		}
	}
}
