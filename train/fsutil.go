package train

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// FullError reports a write that found no room.
type FullError struct {
	File string
	Err  error
}

func (e *FullError) Error() string { return fmt.Sprintf("train: write %s: %v", e.File, e.Err) }
func (e *FullError) Unwrap() error { return e.Err }

// Hint says what a user can do.
func (e *FullError) Hint() string {
	return "free some space and go on with --resume: what was written before is complete; --keep 1 keeps fewer checkpoints"
}

// writeError names the file that could not be written, and a full disk as such.
func writeError(file string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &FullError{file, err}
	}
	return fmt.Errorf("train: write %s: %w", file, err)
}

// atomicFile is written beside its name, in the same folder. Its name is given to it when it is complete and on disk,
// so that at any time the name stands for the old content or the new one.
type atomicFile struct {
	*os.File
	name string
}

// partEnding ends the names of files that are being written; one that is found later was left by a crash.
const partEnding = ".part"

func createAtomic(name string) (*atomicFile, error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*"+partEnding)
	if err != nil {
		return nil, writeError(name, err)
	}
	return &atomicFile{f, name}, nil
}

// commit syncs the file, gives it its name and syncs the folder.
func (f *atomicFile) commit() error {
	err := f.Chmod(0o644)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.File.Name(), f.name)
	}
	if err != nil {
		os.Remove(f.File.Name())
		return writeError(f.name, err)
	}
	return syncDir(filepath.Dir(f.name))
}

// abort removes what was written.
func (f *atomicFile) abort() {
	f.Close()
	os.Remove(f.File.Name())
}

// syncDir makes renames in a folder last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return writeError(dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return writeError(dir, err)
	}
	return nil
}

// writeFileAtomic replaces a file's content.
func writeFileAtomic(name string, data []byte) error {
	return streamFileAtomic(name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// streamFileAtomic replaces a file's content by what write writes.
func streamFileAtomic(name string, write func(io.Writer) error) error {
	f, err := createAtomic(name)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.abort()
		return writeError(name, err)
	}
	return f.commit()
}
