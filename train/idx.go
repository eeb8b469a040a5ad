package train

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// IDX is a Dataset of images of one size, held in memory as the file has them.
type IDX struct {
	name     string
	w, h, ch int // ch: 1 grey, 3 RGB
	pix      []byte
	labels   []byte
	classes  []string
}

// OpenIDX opens a folder of IDX files (http://yann.lecun.com/exdb/mnist), each gzipped or not: train-images-idx3-ubyte,
// train-labels-idx1-ubyte and, for validation, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte ("." may stand for
// the second "-", "test" for "t10k"). Images are bytes, [N H W] grey or [N H W 3] RGB (idx4). Without validation files
// val is nil. Class names are the lines of labels.txt where there is one, Fashion-MNIST's where the labels are those
// of that set, and numbers otherwise.
func OpenIDX(dir string) (train, val Dataset, err error) {
	if !isDir(dir) {
		return nil, nil, &DataError{Spec: "idx:" + dir, Got: "a name that is not a folder", Want: "a folder of IDX files"}
	}
	fail := func(err error) (Dataset, Dataset, error) {
		return nil, nil, &DataError{"idx:" + dir, "files that cannot be used", "MNIST-style IDX files", err}
	}
	t, err := openIDXPart(dir, "train")
	if err != nil {
		return fail(err)
	}
	v, err := openIDXPart(dir, "t10k")
	if errors.Is(err, fs.ErrNotExist) {
		v, err = openIDXPart(dir, "test")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	names, err := os.ReadFile(filepath.Join(dir, "labels.txt"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	if err := nameClasses(strings.FieldsFunc(string(names), func(r rune) bool { return r == '\n' || r == '\r' }), t, v); err != nil {
		return fail(err)
	}
	if v == nil {
		return t, nil, nil
	}
	return t, v, nil
}

// openIDXPart reads the images and labels of "train", "t10k" or "test".
func openIDXPart(dir, part string) (*IDX, error) {
	images, err := openFirst(dir, part+"-images", "idx3", "idx4")
	if err != nil {
		return nil, err
	}
	defer images.Close()
	labels, err := openFirst(dir, part+"-labels", "idx1")
	if err != nil {
		return nil, err
	}
	defer labels.Close()
	return readIDX(part, images, labels)
}

// openFirst opens the first file of the names that IDX files go by.
func openFirst(dir, stem string, kinds ...string) (*os.File, error) {
	var first error
	for _, kind := range kinds {
		for _, sep := range []string{"-", "."} {
			for _, end := range []string{"", ".gz"} {
				f, err := os.Open(filepath.Join(dir, stem+sep+kind+"-ubyte"+end))
				if err == nil || !errors.Is(err, fs.ErrNotExist) {
					return f, err
				}
				if first == nil {
					first = err
				}
			}
		}
	}
	return nil, first
}

// readIDX reads images and labels that belong together.
func readIDX(part string, images, labels io.Reader) (*IDX, error) {
	dims, pix, err := readIDXArray(images)
	if err != nil {
		return nil, fmt.Errorf("%s images: %w", part, err)
	}
	labelDims, classes, err := readIDXArray(labels)
	if err != nil {
		return nil, fmt.Errorf("%s labels: %w", part, err)
	}
	d := &IDX{name: part, ch: 1, pix: pix, labels: classes}
	switch {
	case len(labelDims) != 1 || labelDims[0] == 0:
		return nil, fmt.Errorf("%s labels: got shape %v, want [N]", part, labelDims)
	case len(dims) == 4 && (dims[3] == 1 || dims[3] == 3):
		d.ch = dims[3]
	case len(dims) != 3:
		return nil, fmt.Errorf("%s images: got shape %v, want [N H W] or [N H W 3]", part, dims)
	}
	if dims[0] != labelDims[0] {
		return nil, fmt.Errorf("%s: got %d images and %d labels, want as many", part, dims[0], labelDims[0])
	}
	d.h, d.w = dims[1], dims[2]
	if d.w*d.h == 0 {
		return nil, fmt.Errorf("%s images: got shape %v, want at least one pixel", part, dims)
	}
	return d, nil
}

// readIDXArray reads an IDX array of unsigned bytes, gzipped or not: magic 0, 0, type 8, rank; the dimensions as
// big-endian 32-bit numbers, outermost first; the elements.
func readIDXArray(r io.Reader) (dims []int, data []byte, err error) {
	in := bufio.NewReader(r)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, err
		}
		in = bufio.NewReader(z)
	}
	var magic [4]byte
	if _, err := io.ReadFull(in, magic[:]); err != nil {
		return nil, nil, fmt.Errorf("got no IDX header: %w", err)
	}
	if magic[0] != 0 || magic[1] != 0 || magic[2] != 8 || magic[3] < 1 || magic[3] > 4 {
		return nil, nil, fmt.Errorf("got magic number %x, want 000008 and a rank of 1 to 4", magic)
	}
	dims = make([]int, magic[3])
	total := int64(1)
	for i := range dims {
		var d uint32
		if err := binary.Read(in, binary.BigEndian, &d); err != nil {
			return nil, nil, fmt.Errorf("got no IDX header: %w", err)
		}
		dims[i] = int(d)
		if d != 0 && total > maxIDXBytes/int64(d) {
			return nil, nil, fmt.Errorf("got dimensions %v, want at most %d bytes", dims[:i+1], int64(maxIDXBytes))
		}
		total *= int64(d)
	}
	// Memory is taken as the data comes, not as the header claims.
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(in, total+1))
	if err == nil && n < total {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, nil, fmt.Errorf("got %d of %d bytes: %w", n, total, err)
	}
	if n > total {
		return nil, nil, fmt.Errorf("got more than the %d bytes of shape %v", total, dims)
	}
	return dims, b.Bytes(), nil
}

// maxIDXBytes bounds a file that is to be held in memory.
const maxIDXBytes = 1 << 36

// fashionLabels is the SHA-256 sum of the labels of Fashion-MNIST's training part (github.com/zalandoresearch/fashion-mnist).
const fashionLabels = "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7"

// fashionClasses are the class names from that set's README.
var fashionClasses = []string{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
	"Ankle boot"}

// nameClasses gives the parts, of which val may be nil, their class names: those given, or as OpenIDX says.
func nameClasses(names []string, train, val *IDX) error {
	top := 0
	for _, d := range []*IDX{train, val} {
		if d == nil {
			continue
		}
		for _, l := range d.labels {
			top = max(top, int(l))
		}
	}
	sum := sha256.Sum256(train.labels)
	switch {
	case len(names) > 0 && len(names) <= top:
		return fmt.Errorf("labels.txt: got %d names, want one for each label from 0 to %d", len(names), top)
	case len(names) > 0:
	case hex.EncodeToString(sum[:]) == fashionLabels:
		names = fashionClasses
	default:
		for i := range top + 1 {
			names = append(names, strconv.Itoa(i))
		}
	}
	train.classes = names
	if val != nil {
		val.classes = names
	}
	return nil
}

// Len returns the number of images.
func (d *IDX) Len() int { return len(d.labels) }

// Classes returns the class names.
func (d *IDX) Classes() []string { return d.classes }

// Label returns the class of image i.
func (d *IDX) Label(i int) int { return int(d.labels[i]) }

// Name returns "train 17" for image 17 of the training part.
func (d *IDX) Name(i int) string { return fmt.Sprintf("%s %d", d.name, i) }

// Image returns image i; it cannot fail.
func (d *IDX) Image(i int) (Pixels, error) {
	var pix []byte
	return d.imageInto(i, &pix)
}

func (d *IDX) imageInto(i int, pix *[]byte) (Pixels, error) {
	*pix = resize(*pix, 4*d.w*d.h)
	px := Pixels{W: d.w, H: d.h, Pix: *pix}
	src := d.pix[i*d.w*d.h*d.ch:][:d.w*d.h*d.ch]
	for j := range d.w * d.h {
		p := src[j*d.ch : (j+1)*d.ch]
		r, g, b := p[0], p[0], p[0]
		if d.ch == 3 {
			g, b = p[1], p[2]
		}
		q := px.Pix[4*j : 4*j+4]
		q[0], q[1], q[2], q[3] = r, g, b, 255
	}
	return px, nil
}

func (d *IDX) maxSize() (w, h int) { return d.w, d.h }
