package effnetv2

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"path"
	"slices"
	"strings"

	"github.com/nlpodyssey/gopickle/pickle"
	"github.com/nlpodyssey/gopickle/types"
)

// Files of torch.save: a pickle stream that describes the tensors, and their storages beside it. The unpickler is
// gopickle's; the storages are read here, because gopickle's own reader trusts the lengths that a file states and allocates
// them before it reads.

var torchDTypes = map[string]struct {
	dtype string
	size  int64
}{
	"FloatStorage": {"F32", 4}, "DoubleStorage": {"F64", 8}, "HalfStorage": {"F16", 2}, "BFloat16Storage": {"BF16", 2},
	"LongStorage": {"I64", 8}, "IntStorage": {"I32", 4}, "ShortStorage": {"I16", 2}, "CharStorage": {"I8", 1},
	"ByteStorage": {"U8", 1}, "BoolStorage": {"BOOL", 1},
}

// isPickle tells files of torch.save (a zip archive, or a pickle of protocol 2 and more) from safetensors, whose first
// eight bytes are a header length below 100 MB, so that bytes 4 to 7 are zero.
func isPickle(start []byte) bool {
	return bytes.HasPrefix(start, []byte("PK\x03\x04")) || len(start) > 4 && start[0] == 0x80 && !bytes.Equal(start[4:], make([]byte, len(start)-4))
}

// torchFile is a file, or its content in tests.
type torchFile interface {
	io.ReaderAt
	io.ReadSeeker
}

func readPyTorch(f torchFile, size int64) (*StateDict, error) {
	var magic [2]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil {
		return nil, err
	}
	load := readLegacyTorch
	if string(magic[:]) == "PK" {
		load = readZipTorch
	}
	root, err := load(f, size)
	if err != nil {
		return nil, fmt.Errorf("not a PyTorch file or a damaged one: %w", err)
	}
	return flatten(root)
}

// torchStorage is one block of memory that tensors are views of.
type torchStorage struct {
	dtype string
	size  int64 // bytes an element
	count int64
	data  []byte
}

// torchTensor is a strided view; legacy files have their storages after the pickle, so it is resolved at the end.
type torchTensor struct {
	storage       *torchStorage
	offset        int
	shape, stride []int
}

// storageClass stands for torch.FloatStorage and its like.
type storageClass string

// inert stands for every class and function that a file names and that is not needed to read its tensors (the arguments of a
// training script, numpy scalars): it can be called and filled, and does nothing.
type inert struct{}

func (inert) Call(...any) (any, error)  { return inert{}, nil }
func (inert) PyNew(...any) (any, error) { return inert{}, nil }
func (inert) PySetState(any) error      { return nil }

// call makes a function known to the unpickler.
type call func(args ...any) (any, error)

func (c call) Call(args ...any) (any, error) { return c(args...) }

func findTorchClass(module, name string) (any, error) {
	switch module + "." + name {
	case "torch._utils._rebuild_tensor_v2":
		return call(rebuildTensor), nil
	case "torch._utils._rebuild_parameter":
		return call(func(args ...any) (any, error) {
			if len(args) == 0 {
				return nil, errors.New("a parameter without a tensor")
			}
			return args[0], nil
		}), nil
	}
	if _, ok := torchDTypes[name]; ok && module == "torch" {
		return storageClass(name), nil
	}
	return inert{}, nil
}

func rebuildTensor(args ...any) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("a tensor with %d fields, want at least 4", len(args))
	}
	storage, ok0 := args[0].(*torchStorage)
	offset, ok1 := args[1].(int)
	shape, ok2 := ints(args[2])
	stride, ok3 := ints(args[3])
	if !ok0 || !ok1 || !ok2 || !ok3 || len(shape) != len(stride) {
		return nil, errors.New("a tensor whose storage, offset, shape or strides are of the wrong type")
	}
	return &torchTensor{storage, offset, shape, stride}, nil
}

func ints(x any) ([]int, bool) {
	tuple, ok := x.(*types.Tuple)
	if !ok {
		return nil, false
	}
	out := make([]int, tuple.Len())
	for i := range out {
		if out[i], ok = tuple.Get(i).(int); !ok || out[i] < 0 {
			return nil, false
		}
	}
	return out, true
}

// resolve copies the view out of its storage. A view that would read outside is an error; so is one that reads elements
// twice, with which a small file could ask for any amount of memory.
func (t *torchTensor) resolve() (Tensor, error) {
	out := Tensor{DType: t.storage.dtype, Shape: t.shape}
	if slices.Contains(t.shape, 0) {
		return out, out.decode(nil)
	}
	if int64(len(t.storage.data)) != t.storage.count*t.storage.size {
		return Tensor{}, errors.New("its storage is not in the file")
	}
	count, last := int64(1), int64(t.offset)
	contiguous := true
	for i := len(t.shape) - 1; i >= 0; i-- {
		d, stride := int64(t.shape[i]), int64(t.stride[i])
		if d > t.storage.count/count || d > 1 && stride > t.storage.count {
			return Tensor{}, fmt.Errorf("shape %v, strides %v do not fit its storage of %d elements", t.shape, t.stride, t.storage.count)
		}
		contiguous = contiguous && (d == 1 || stride == count)
		last += (d - 1) * stride
		count *= d
	}
	if t.offset < 0 || last < int64(t.offset) || last >= t.storage.count {
		return Tensor{}, fmt.Errorf("shape %v, strides %v, offset %d read outside the storage of %d elements", t.shape, t.stride, t.offset, t.storage.count)
	}
	size := t.storage.size
	if contiguous {
		return out, out.decode(t.storage.data[int64(t.offset)*size : (int64(t.offset)+count)*size])
	}
	data := make([]byte, 0, count*size)
	index := make([]int, len(t.shape))
	for range count {
		at := int64(t.offset)
		for i, x := range index {
			at += int64(x) * int64(t.stride[i])
		}
		data = append(data, t.storage.data[at*size:(at+1)*size]...)
		for i := len(index) - 1; i >= 0; i-- {
			if index[i]++; index[i] < t.shape[i] {
				break
			}
			index[i] = 0
		}
	}
	return out, out.decode(data)
}

// opcodeReader feeds the unpickler and follows the stream just enough to know which bytes are opcodes: gopickle asks byte by byte
// for those, for arguments of one byte and for text that ends with its line, and for everything else in blocks. It refuses
// lengths that exceed the file, because gopickle allocates what a length states before it reads.
type opcodeReader struct {
	*bufio.Reader
	size     int64 // of the file
	lines    int   // of text still to come
	argument bool  // the next byte is one
	refused  error
}

// textLines says how many lines of text follow an opcode.
var textLines = map[byte]int{'F': 1, 'I': 1, 'L': 1, 'P': 1, 'S': 1, 'V': 1, 'g': 1, 'p': 1, 'c': 2, 'i': 2}

func (r *opcodeReader) ReadByte() (byte, error) {
	if r.refused != nil {
		return 0, r.refused
	}
	b, err := r.Reader.ReadByte()
	if err != nil {
		return 0, err
	}
	switch {
	case r.lines > 0:
		if b == '\n' {
			r.lines--
		}
	case r.argument:
		r.argument = false
	default:
		r.refused = r.opcode(b)
	}
	return b, r.refused
}

// Read is refused too after an opcode was: gopickle tries again this way when ReadByte fails.
func (r *opcodeReader) Read(p []byte) (int, error) {
	if r.refused != nil {
		return 0, r.refused
	}
	return r.Reader.Read(p)
}

func (r *opcodeReader) opcode(b byte) error {
	r.lines = textLines[b]
	switch b {
	case 'C', 'K', 'U', 'h', 'q', 0x80, 0x82, 0x8a, 0x8c: // short lengths and values, memo indices, PROTO, EXT1
		r.argument = true
	case 'B', 'T', 'X', 0x8b: // BINBYTES, BINSTRING, BINUNICODE, LONG4
		if n, err := r.Peek(4); err == nil && int64(binary.LittleEndian.Uint32(n)) > r.size {
			return fmt.Errorf("a string of %d bytes in a file of %d", binary.LittleEndian.Uint32(n), r.size)
		}
	case 0x8d, 0x8e, 0x95, 0x96: // BINUNICODE8, BINBYTES8, FRAME, BYTEARRAY8
		return errors.New("pickle protocol 4 or 5, want 2, the default of torch.save")
	}
	return nil
}

// unpickle reads one object. gopickle indexes what it has read without asking whether it can, so a damaged stream may make it
// panic; that too is a damaged file.
func unpickle(r *opcodeReader, storage func(key string, dtype string, count int64) (*torchStorage, error)) (root any, err error) {
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, fmt.Errorf("damaged pickle: %v", p)
		}
	}()
	u := pickle.NewUnpickler(r)
	u.FindClass = findTorchClass
	u.PersistentLoad = func(id any) (any, error) {
		tuple, ok := id.(*types.Tuple)
		if !ok || tuple.Len() < 5 || tuple.Get(0) != "storage" {
			return nil, errors.New("a persistent object that is not a storage")
		}
		class, ok1 := tuple.Get(1).(storageClass)
		key, ok2 := tuple.Get(2).(string)
		count, ok4 := tuple.Get(4).(int)
		if !ok1 || !ok2 || !ok4 || count < 0 {
			return nil, errors.New("a storage whose type, key or length is of the wrong type")
		}
		if tuple.Len() > 5 && tuple.Get(5) != nil {
			return nil, errors.New("a storage that is a view of another, as PyTorch before 0.4 wrote it; load and save it with a newer PyTorch")
		}
		return storage(key, string(class), int64(count))
	}
	return u.Load()
}

func readZipTorch(f torchFile, size int64) (any, error) {
	archive, err := zip.NewReader(f, size)
	if err != nil {
		return nil, err
	}
	files := map[string]*zip.File{}
	root := ""
	for _, e := range archive.File {
		files[e.Name] = e
		if path.Base(e.Name) == "data.pkl" {
			root = strings.TrimSuffix(e.Name, "data.pkl")
		}
	}
	// read returns an entry of the stated size. Entries are stored, not compressed, so no entry is larger than the file.
	read := func(name string, want int64) ([]byte, error) {
		e, ok := files[root+name]
		if !ok {
			return nil, fmt.Errorf("the archive has no %s", root+name)
		}
		got := int64(e.UncompressedSize64)
		if e.Method != zip.Store || got > size {
			return nil, fmt.Errorf("%s is compressed or of impossible size %d, want it stored as torch.save does", e.Name, got)
		}
		if want >= 0 && got != want {
			return nil, fmt.Errorf("%s has %d bytes, want %d", e.Name, got, want)
		}
		r, err := e.Open()
		if err != nil {
			return nil, err
		}
		defer r.Close()
		data := make([]byte, got)
		if _, err := io.ReadFull(r, data); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name, err)
		}
		if _, err := r.Read(make([]byte, 1)); err != io.EOF { // the checksum is verified at the end
			return nil, fmt.Errorf("%s: %w", e.Name, err)
		}
		return data, nil
	}
	if _, ok := files[root+"constants.pkl"]; ok {
		return nil, errors.New("a TorchScript program, want a state_dict: torch.save(model.state_dict(), file)")
	}
	if order, err := read("byteorder", -1); err == nil && strings.TrimSpace(string(order)) != "little" {
		return nil, fmt.Errorf("byte order is %q, want little", order)
	}
	stream, err := read("data.pkl", -1)
	if err != nil {
		return nil, err
	}
	storages := map[string]*torchStorage{}
	return unpickle(&opcodeReader{Reader: bufio.NewReader(bytes.NewReader(stream)), size: size}, func(key, class string, count int64) (*torchStorage, error) {
		if s, ok := storages[key]; ok {
			return s, nil
		}
		dt := torchDTypes[class]
		if count > size {
			return nil, fmt.Errorf("storage %s states %d elements in a file of %d bytes", key, count, size)
		}
		data, err := read("data/"+key, count*dt.size)
		if err != nil {
			return nil, err
		}
		storages[key] = &torchStorage{dt.dtype, dt.size, count, data}
		return storages[key], nil
	})
}

// readLegacyTorch reads what PyTorch before 1.6 wrote: pickles of a magic number, the protocol, the system and the object, then
// one of the storages' keys in the order in which they follow, each with its length before it.
func readLegacyTorch(f torchFile, size int64) (any, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r := &opcodeReader{Reader: bufio.NewReader(f), size: size}
	none := func(string, string, int64) (*torchStorage, error) {
		return nil, errors.New("a storage in the preamble")
	}
	magic, err := unpickle(r, none)
	if err != nil {
		return nil, err
	}
	if n, ok := magic.(*big.Int); !ok || n.Text(16) != "1950a86a20f9469cfc6c" {
		return nil, errors.New("a pickle, but not one of torch.save")
	}
	protocol, err := unpickle(r, none)
	if err != nil {
		return nil, err
	}
	if protocol != 1001 {
		return nil, fmt.Errorf("protocol %v, want 1001", protocol)
	}
	if _, err := unpickle(r, none); err != nil {
		return nil, err
	}
	storages := map[string]*torchStorage{}
	root, err := unpickle(r, func(key, class string, count int64) (*torchStorage, error) {
		if storages[key] == nil {
			dt := torchDTypes[class]
			storages[key] = &torchStorage{dtype: dt.dtype, size: dt.size, count: count}
		}
		return storages[key], nil
	})
	if err != nil {
		return nil, err
	}
	keys, err := unpickle(r, none)
	if err != nil {
		return nil, err
	}
	list, ok := keys.(*types.List)
	if !ok {
		return nil, errors.New("no list of storages")
	}
	for _, k := range *list {
		key, _ := k.(string)
		s := storages[key]
		if s == nil || s.data != nil {
			return nil, fmt.Errorf("storage %v is listed but not used, or listed twice", k)
		}
		var count int64
		if err := binary.Read(r, binary.LittleEndian, &count); err != nil {
			return nil, err
		}
		if count != s.count || count > size {
			return nil, fmt.Errorf("storage %s has %d elements in a file of %d bytes, want %d", key, count, size, s.count)
		}
		s.data = make([]byte, count*s.size)
		if _, err := io.ReadFull(r, s.data); err != nil {
			return nil, fmt.Errorf("storage %s: %w", key, err)
		}
	}
	return root, nil
}

// flatten finds the state_dict in what a file holds. The order of the wrappers is timm's: averaged weights are what its and
// torchvision's training evaluate.
func flatten(root any) (*StateDict, error) {
	entries, ok := dictEntries(root)
	if !ok {
		return nil, fmt.Errorf("the file holds a %s, want a state_dict", describe(root))
	}
	for _, wrapper := range []string{"state_dict_ema", "model_ema", "state_dict", "model"} {
		for _, e := range entries {
			if inner, ok := dictEntries(e.value); ok && e.key == wrapper && len(inner) > 0 {
				return collect(inner)
			}
		}
	}
	return collect(entries)
}

func collect(entries []dictEntry) (*StateDict, error) {
	sd := &StateDict{}
	for _, e := range entries {
		view, ok := e.value.(*torchTensor)
		if !ok {
			return nil, fmt.Errorf("entry %q is a %s, want a tensor", e.key, describe(e.value))
		}
		t, err := view.resolve()
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", e.key, err)
		}
		if _, ok := sd.Tensors[e.key]; ok {
			return nil, fmt.Errorf("tensor %q occurs twice", e.key)
		}
		sd.Add(e.key, t)
	}
	return sd, nil
}

// describe names a value for a message. Whole models are the common mistake; their class is not kept.
func describe(x any) string {
	switch x.(type) {
	case inert:
		return "Python object (a whole model is saved as one: save model.state_dict())"
	case *torchTensor:
		return "tensor"
	case nil:
		return "None"
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", x), "*types.")
}

type dictEntry struct {
	key   string
	value any
}

func dictEntries(x any) ([]dictEntry, bool) {
	var entries []dictEntry
	add := func(key, value any) bool {
		k, ok := key.(string)
		entries = append(entries, dictEntry{k, value})
		return ok
	}
	switch d := x.(type) {
	case *types.Dict:
		for _, e := range *d {
			if !add(e.Key, e.Value) {
				return nil, false
			}
		}
	case *types.OrderedDict:
		for e := d.List.Front(); e != nil; e = e.Next() {
			entry, ok := e.Value.(*types.OrderedDictEntry)
			if !ok || !add(entry.Key, entry.Value) {
				return nil, false
			}
		}
	default:
		return nil, false
	}
	return entries, true
}
