package train

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A checkpoint is one safetensors file, which other programs can read: a little-endian uint64 n, n bytes of JSON that
// name each tensor's type, shape and place, and the tensors' bytes without gaps. The JSON's __metadata__ holds the
// State and a CRC-32C of the whole file in which the checksum's own digits are zeros.

// State is what a run needs beside the blobs to go on. Extra is for what a caller wants to keep.
type State struct {
	Step         int               `json:"step"` // steps done
	Epoch        float64           `json:"epoch"`
	Stage        int               `json:"stage"`
	Seed         uint64            `json:"seed"`
	LossScale    float64           `json:"loss_scale"`    // of the next step
	GoodSteps    uint32            `json:"good_steps"`    // since it last changed
	SkippedSteps uint32            `json:"skipped_steps"` // in all, as their gradients overflowed
	BestTop1     float64           `json:"best_top1"`
	BestStep     int               `json:"best_step"`
	Extra        map[string]string `json:"extra,omitempty"`
}

// Blob is a named run of bytes. Write is called once and must write exactly Size bytes, in pieces of any size, so that
// what comes from a device never lies in memory as a whole.
type Blob struct {
	Name  string
	Type  string // safetensors' name of the element type: "F32", "U8", …; empty: U8
	Size  int64  // bytes
	Write func(w io.Writer) error
}

// ByteBlob returns a Blob of bytes in memory.
func ByteBlob(name string, b []byte) Blob {
	return Blob{Name: name, Size: int64(len(b)), Write: func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}}
}

// typeBytes are the element types that a Blob may have.
var typeBytes = map[string]int64{"U8": 1, "F16": 2, "BF16": 2, "F32": 4, "I32": 4, "I64": 8, "F64": 8}

// CorruptError reports a checkpoint that is not as it was written.
type CorruptError struct {
	File, Got, Want string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("train: checkpoint %s: got %s, want %s", e.File, e.Got, e.Want)
}

// tensorEntry is a tensor in a safetensors header.
type tensorEntry struct {
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

const (
	noChecksum       = "00000000"
	maxHeader        = 1 << 24
	checkpointEnding = ".safetensors"
	checkpointFormat = "vkeffnet-checkpoint-1"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkpointHeader returns the length and the JSON of a header with the checksum in the form of eight digits.
func checkpointHeader(s State, blobs []Blob, checksum string) ([]byte, error) {
	state, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	header := map[string]any{
		"__metadata__": map[string]string{"format": checkpointFormat, "state": string(state), "crc32c": checksum},
	}
	at := int64(0)
	for _, b := range blobs {
		if b.Type == "" {
			b.Type = "U8"
		}
		each, ok := typeBytes[b.Type]
		if !ok || b.Size < 0 || b.Size%each != 0 {
			return nil, fmt.Errorf("blob %q has %d bytes of type %q, want whole elements of a type of safetensors", b.Name, b.Size, b.Type)
		}
		if _, twice := header[b.Name]; twice || b.Name == "" {
			return nil, fmt.Errorf("blob name %q is empty or given twice", b.Name)
		}
		header[b.Name] = tensorEntry{b.Type, []int64{b.Size / each}, [2]int64{at, at + b.Size}}
		at += b.Size
	}
	text, err := json.Marshal(header) // in the order of the keys, so that only the checksum's digits differ
	if err != nil {
		return nil, err
	}
	text = append(text, bytes.Repeat([]byte(" "), -len(text)&7)...) // tensors begin at a multiple of 8
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), nil
}

// SaveCheckpoint writes dir/step-NNNNNNNN.safetensors and then removes all but the newest keep of such files. The file
// appears under its name when it is complete and on disk; a crash at any time leaves the files that were there. It
// returns the file's name. Errors: *FullError when there is no room.
func SaveCheckpoint(dir string, s State, blobs []Blob, keep int) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", writeError(dir, err)
	}
	if err := removeParts(dir); err != nil {
		return "", err
	}
	name := filepath.Join(dir, fmt.Sprintf("step-%08d%s", s.Step, checkpointEnding))
	f, err := createAtomic(name)
	if err != nil {
		return "", err
	}
	if err := writeCheckpoint(f, s, blobs); err != nil {
		f.abort()
		return "", writeError(name, err)
	}
	if err := f.commit(); err != nil {
		return "", err
	}
	files, err := stepFiles(dir)
	if err != nil {
		return "", err
	}
	for _, old := range files[:max(len(files)-max(keep, 1), 0)] {
		if old != name {
			if err := os.Remove(old); err != nil {
				return "", writeError(old, err)
			}
		}
	}
	return name, nil
}

// writeCheckpoint writes header and blobs, and the checksum when all has been seen.
func writeCheckpoint(f interface {
	io.Writer
	io.WriterAt
}, s State, blobs []Blob) error {
	header, err := checkpointHeader(s, blobs, noChecksum)
	if err != nil {
		return err
	}
	sum := crc32.New(castagnoli)
	w := &countingWriter{w: io.MultiWriter(f, sum)}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, b := range blobs {
		w.n = 0
		if err := b.Write(w); err != nil {
			return err
		}
		if w.n != b.Size {
			return fmt.Errorf("blob %q wrote %d bytes, want %d", b.Name, w.n, b.Size)
		}
	}
	header, err = checkpointHeader(s, blobs, fmt.Sprintf("%08x", sum.Sum32()))
	if err != nil {
		return err
	}
	_, err = f.WriteAt(header, 0)
	return err
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// removeParts removes what a crash left half-written.
func removeParts(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && strings.HasSuffix(e.Name(), partEnding) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return writeError(e.Name(), err)
			}
		}
	}
	return nil
}

// stepFiles lists the checkpoints that SaveCheckpoint wrote, oldest step first.
func stepFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	step := func(name string) (int, bool) {
		name, isStep := strings.CutPrefix(filepath.Base(name), "step-")
		name, isFile := strings.CutSuffix(name, checkpointEnding)
		n, err := strconv.Atoi(name)
		return n, isStep && isFile && err == nil
	}
	var files []string
	for _, e := range entries {
		if _, ok := step(e.Name()); ok {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	slices.SortFunc(files, func(a, b string) int {
		x, _ := step(a)
		y, _ := step(b)
		return x - y
	})
	return files, nil
}

// KeepCheckpoint gives a checkpoint a second name in its folder, "best" or "stage-2", that outlives the newest few. It is
// a hard link where the file system has them and a copy elsewhere, and replaces an older file of that name at once.
func KeepCheckpoint(file, as string) error {
	name := filepath.Join(filepath.Dir(file), as+checkpointEnding)
	link := filepath.Join(filepath.Dir(file), "."+as+".link"+partEnding)
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return writeError(link, err)
	}
	if os.Link(file, link) == nil {
		if err := os.Rename(link, name); err != nil {
			return writeError(name, err)
		}
		// Renaming a link to another link of the same file does nothing and leaves the first.
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return writeError(link, err)
		}
		return syncDir(filepath.Dir(name))
	}
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	defer in.Close()
	return streamFileAtomic(name, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

// Checkpoint is a file whose checksum was right when it was opened.
type Checkpoint struct {
	State State
	File  string
	f     *os.File
	blobs map[string]tensorEntry
	data  int64 // offset of the first tensor
}

// OpenCheckpoint reads the whole file once to verify it. The caller closes the checkpoint. Errors: *CorruptError for a
// file that is cut short, changed or something else, *os.PathError.
func OpenCheckpoint(file string) (*Checkpoint, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("train: checkpoint: %w", err)
	}
	c, err := readCheckpoint(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return c, nil
}

func readCheckpoint(f *os.File) (*Checkpoint, error) {
	corrupt := func(got, want string) (*Checkpoint, error) { return nil, &CorruptError{f.Name(), got, want} }
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("train: checkpoint: %w", err)
	}
	var length [8]byte
	if _, err := io.ReadFull(f, length[:]); err != nil {
		return corrupt(fmt.Sprintf("%d bytes", info.Size()), "a safetensors header")
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader || int64(n) > info.Size()-8 {
		return corrupt(fmt.Sprintf("a header of %d bytes in a file of %d", n, info.Size()), "a safetensors header")
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(f, header); err != nil {
		return nil, fmt.Errorf("train: checkpoint: %w", err)
	}
	c := &Checkpoint{File: f.Name(), f: f, blobs: map[string]tensorEntry{}, data: 8 + int64(n)}
	entries := map[string]json.RawMessage{}
	var meta struct{ Format, State, CRC32C string }
	if err := json.Unmarshal(header, &entries); err != nil {
		return corrupt("a header that is no JSON", "a safetensors header")
	}
	if json.Unmarshal(entries["__metadata__"], &meta) != nil || meta.Format != checkpointFormat {
		return corrupt("no metadata of "+checkpointFormat, "a checkpoint written by train")
	}
	delete(entries, "__metadata__")
	end := int64(0)
	for name, raw := range entries {
		var e tensorEntry
		if json.Unmarshal(raw, &e) != nil || e.Offsets[0] < 0 || e.Offsets[1] < e.Offsets[0] {
			return corrupt(fmt.Sprintf("a malformed entry %q", name), "a safetensors entry")
		}
		end = max(end, e.Offsets[1])
		c.blobs[name] = e
	}
	if end != info.Size()-c.data {
		return corrupt(fmt.Sprintf("%d bytes", info.Size()), fmt.Sprintf("%d", end+c.data))
	}
	field := []byte(`"crc32c":"` + meta.CRC32C + `"`)
	at := bytes.Index(header, field)
	if len(meta.CRC32C) != len(noChecksum) || at < 0 {
		return corrupt("no checksum", "one of 8 digits")
	}
	copy(header[at+len(`"crc32c":"`):], noChecksum)
	sum := crc32.New(castagnoli)
	sum.Write(length[:])
	sum.Write(header)
	if _, err := io.Copy(sum, f); err != nil {
		return nil, fmt.Errorf("train: checkpoint: %w", err)
	}
	if got := fmt.Sprintf("%08x", sum.Sum32()); got != meta.CRC32C {
		return corrupt("checksum "+got, meta.CRC32C+"; the file is damaged")
	}
	if err := json.Unmarshal([]byte(meta.State), &c.State); err != nil {
		return corrupt("a malformed state", "the state of a run")
	}
	return c, nil
}

// Blob returns a reader of a blob's bytes and their number.
func (c *Checkpoint) Blob(name string) (io.Reader, int64, error) {
	e, ok := c.blobs[name]
	if !ok {
		return nil, 0, &CorruptError{c.File, "no " + strconv.Quote(name), "a blob of that name"}
	}
	n := e.Offsets[1] - e.Offsets[0]
	return io.NewSectionReader(c.f, c.data+e.Offsets[0], n), n, nil
}

// Blobs lists the blobs' names in order.
func (c *Checkpoint) Blobs() []string {
	names := make([]string, 0, len(c.blobs))
	for name := range c.blobs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Close closes the file.
func (c *Checkpoint) Close() error { return c.f.Close() }

// LatestCheckpoint opens the checkpoint of the highest step in dir that is whole; skipped says what was wrong with
// newer ones. Without any it returns an error that is fs.ErrNotExist, or, if all are damaged, the newest's.
func LatestCheckpoint(dir string) (c *Checkpoint, skipped []error, err error) {
	files, err := stepFiles(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, file := range slices.Backward(files) {
		c, err := OpenCheckpoint(file)
		if err == nil {
			return c, skipped, nil
		}
		skipped = append(skipped, err)
	}
	if len(skipped) > 0 {
		return nil, skipped, fmt.Errorf("train: no usable checkpoint in %s: %w", dir, skipped[0])
	}
	return nil, nil, fmt.Errorf("train: no checkpoint in %s: %w", dir, fs.ErrNotExist)
}
