package effnetv2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/nlpodyssey/safetensors"
	"github.com/x448/float16"
)

// Tensor is one array of a state. Exactly one of F32 and I64 holds its elements, in row-major order; which one the type of
// the file decides: floating-point types are converted to float32 (F16, BF16 and F32 exactly, F64 rounded), integers and
// booleans to int64.
type Tensor struct {
	DType string // of the file: "F32", "F16", "BF16", "F64", "I64", ...
	Shape []int  // empty for a scalar
	F32   []float32
	I64   []int64
}

// StateDict is a set of named tensors with the metadata of its file.
type StateDict struct {
	Source   string // path, for messages; empty when it was made in memory
	Names    []string
	Tensors  map[string]Tensor
	Metadata map[string]string
}

// Add appends a tensor; the name must be new.
func (sd *StateDict) Add(name string, t Tensor) {
	if sd.Tensors == nil {
		sd.Tensors = map[string]Tensor{}
	}
	sd.Names = append(sd.Names, name)
	sd.Tensors[name] = t
}

// FormatError reports a file that is not what it should be: truncated, with a header that lies, or of another format.
type FormatError struct {
	Path string
	Err  error
}

func (e *FormatError) Error() string { return fmt.Sprintf("effnetv2: %s: %v", e.Path, e.Err) }
func (e *FormatError) Unwrap() error { return e.Err }

// ReadFile reads a safetensors file or a PyTorch state_dict (zip or legacy), told apart by their content. A PyTorch
// checkpoint may hold the weights under "state_dict_ema", "model_ema", "state_dict" or "model", of which the first found
// is taken; a prefix "module." of all names is dropped. No code of the file is run. A file that cannot be understood gives a
// *FormatError.
func ReadFile(path string) (*StateDict, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("effnetv2: weights: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("effnetv2: weights: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("effnetv2: weights: %s is a %s, want a file", path, describeMode(info.Mode()))
	}
	var start [8]byte
	n, err := io.ReadFull(f, start[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("effnetv2: weights: %w", err)
	}
	var sd *StateDict
	switch {
	case isPickle(start[:n]):
		sd, err = readPyTorch(f, info.Size())
	default:
		var file []byte
		if file, err = os.ReadFile(path); err != nil {
			return nil, fmt.Errorf("effnetv2: weights: %w", err)
		}
		sd, err = DecodeSafetensors(file)
	}
	if err != nil {
		return nil, &FormatError{Path: path, Err: err}
	}
	sd.Source = path
	sd.unwrap()
	return sd, nil
}

func describeMode(m os.FileMode) string {
	if m.IsDir() {
		return "folder"
	}
	return "special file"
}

// unwrap drops what PyTorch's wrappers add: a common prefix of all names, and the counter of averaged models.
func (sd *StateDict) unwrap() {
	if _, ok := sd.Tensors["n_averaged"]; ok {
		delete(sd.Tensors, "n_averaged")
		sd.Names = slices.DeleteFunc(sd.Names, func(n string) bool { return n == "n_averaged" })
	}
	for _, prefix := range []string{"module.", "_orig_mod.", "model."} {
		if len(sd.Names) == 0 || slices.ContainsFunc(sd.Names, func(n string) bool { return !strings.HasPrefix(n, prefix) }) {
			continue
		}
		tensors := make(map[string]Tensor, len(sd.Tensors))
		for i, n := range sd.Names {
			sd.Names[i] = strings.TrimPrefix(n, prefix)
			tensors[sd.Names[i]] = sd.Tensors[n]
		}
		sd.Tensors = tensors
	}
}

// DecodeSafetensors parses the content of a whole file. The library checks the header: its length, that tensors lie end to end without
// gap or overlap and fill the file exactly, and that every shape agrees with its bytes.
func DecodeSafetensors(file []byte) (*StateDict, error) {
	st, err := safetensors.Deserialize(file)
	if err != nil {
		return nil, fmt.Errorf("not a safetensors file or a damaged one (%d bytes): %w", len(file), err)
	}
	_, header, err := safetensors.ReadMetadata(file)
	if err != nil {
		return nil, err
	}
	sd := &StateDict{Metadata: header.Metadata()}
	for _, v := range st.Tensors() {
		t, err := decodeTensor(v.TensorView)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", v.Name, err)
		}
		sd.Add(v.Name, t)
	}
	return sd, nil
}

func decodeTensor(v safetensors.TensorView) (Tensor, error) {
	t := Tensor{DType: v.DType().String(), Shape: []int{}}
	for _, d := range v.Shape() {
		if d > math.MaxInt32 {
			return Tensor{}, fmt.Errorf("a dimension is %d, want at most %d", d, math.MaxInt32)
		}
		t.Shape = append(t.Shape, int(d))
	}
	return t, t.decode(v.Data())
}

// decode fills the elements from little-endian data of type t.DType.
func (t *Tensor) decode(data []byte) error {
	le := binary.LittleEndian
	switch t.DType {
	case "F32":
		t.F32 = widen(data, 4, func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) })
	case "F64":
		t.F32 = widen(data, 8, func(b []byte) float32 { return float32(math.Float64frombits(le.Uint64(b))) })
	case "BF16":
		t.F32 = widen(data, 2, func(b []byte) float32 { return math.Float32frombits(uint32(le.Uint16(b)) << 16) })
	case "F16":
		t.F32 = widen(data, 2, func(b []byte) float32 { return float16.Frombits(le.Uint16(b)).Float32() })
	case "I64", "U64":
		t.I64 = widen(data, 8, func(b []byte) int64 { return int64(le.Uint64(b)) })
	case "I32":
		t.I64 = widen(data, 4, func(b []byte) int64 { return int64(int32(le.Uint32(b))) })
	case "U32":
		t.I64 = widen(data, 4, func(b []byte) int64 { return int64(le.Uint32(b)) })
	case "I16":
		t.I64 = widen(data, 2, func(b []byte) int64 { return int64(int16(le.Uint16(b))) })
	case "U16":
		t.I64 = widen(data, 2, func(b []byte) int64 { return int64(le.Uint16(b)) })
	case "I8":
		t.I64 = widen(data, 1, func(b []byte) int64 { return int64(int8(b[0])) })
	case "U8", "BOOL":
		t.I64 = widen(data, 1, func(b []byte) int64 { return int64(b[0]) })
	default:
		return fmt.Errorf("element type is %s, want a floating-point or integer type", t.DType)
	}
	return nil
}

func widen[T any](data []byte, size int, convert func([]byte) T) []T {
	x := make([]T, len(data)/size)
	for i := range x {
		x[i] = convert(data[i*size:])
	}
	return x
}

// tensorView is what the safetensors writer asks of a tensor; bytes are made when they are written.
type tensorView struct{ t Tensor }

func (v tensorView) DType() safetensors.DType {
	if v.t.I64 != nil {
		return safetensors.I64
	}
	return safetensors.F32
}

func (v tensorView) Shape() []uint64 {
	shape := make([]uint64, len(v.t.Shape))
	for i, d := range v.t.Shape {
		shape[i] = uint64(d)
	}
	return shape
}

func (v tensorView) DataLen() uint64 { return uint64(4*len(v.t.F32) + 8*len(v.t.I64)) }

func (v tensorView) Data() []byte {
	data := make([]byte, 0, v.DataLen())
	for _, x := range v.t.F32 {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	for _, x := range v.t.I64 {
		data = binary.LittleEndian.AppendUint64(data, uint64(x))
	}
	return data
}

// Write writes the state as safetensors: floating-point tensors as F32, integers as I64. The same state gives the same bytes.
func (sd *StateDict) Write(w io.Writer) error {
	views := make(map[string]tensorView, len(sd.Tensors))
	for name, t := range sd.Tensors {
		n := 1
		for _, d := range t.Shape {
			n *= d
		}
		if got := len(t.F32) + len(t.I64); got != n {
			return fmt.Errorf("effnetv2: tensor %q has %d elements, want %d for shape %v", name, got, n, t.Shape)
		}
		views[name] = tensorView{t}
	}
	return safetensors.SerializeToWriter(views, sd.Metadata, w)
}

// WriteFile writes the state to a safetensors file, atomically as WriteFileAtomic does.
func (sd *StateDict) WriteFile(path string) error { return WriteFileAtomic(path, sd.Write) }

// WriteError reports a file that could not be written; the file of that name, if there was one, is as it was.
type WriteError struct {
	Path string
	Err  error
}

func (e *WriteError) Error() string { return fmt.Sprintf("effnetv2: write %s: %v", e.Path, e.Err) }
func (e *WriteError) Unwrap() error { return e.Err }

// Hint says what to do about the usual causes, "" if nothing comes to mind.
func (e *WriteError) Hint() string {
	switch {
	case errors.Is(e.Err, syscall.ENOSPC), errors.Is(e.Err, syscall.EDQUOT):
		return fmt.Sprintf("free some space on the disk of %s or write elsewhere; nothing half-written was left", filepath.Dir(e.Path))
	case errors.Is(e.Err, os.ErrPermission), errors.Is(e.Err, syscall.EROFS):
		return fmt.Sprintf("choose a folder that you may write to instead of %s", filepath.Dir(e.Path))
	case errors.Is(e.Err, os.ErrNotExist):
		return fmt.Sprintf("the folder %s does not exist", filepath.Dir(e.Path))
	}
	return ""
}

// WriteFileAtomic writes a file so that at any moment, whatever fails, path is either what it was or complete: into a
// temporary file beside it, synced, renamed, and the folder synced. Errors are *WriteError.
func WriteFileAtomic(path string, write func(io.Writer) error) (err error) {
	defer func() {
		if err != nil {
			err = &WriteError{Path: path, Err: err}
		}
	}()
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".tmp*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
