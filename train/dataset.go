package train

import (
	"errors"
	"fmt"
	"strings"
)

// Pixels is one decoded image: H rows of W pixels of 4 bytes, red, green, blue and 255, without padding.
type Pixels struct {
	W, H int
	Pix  []byte
}

// Dataset is a set of labelled images. Implementations are safe for concurrent use.
type Dataset interface {
	Len() int
	// Classes returns the class names; Label returns indices into it.
	Classes() []string
	Label(i int) int
	// Image decodes image i. The caller must not write to Pix. An error names the image.
	Image(i int) (Pixels, error)
	// Name tells a reader which image i is: a file name, or a number within the set.
	Name(i int) string
}

// DataOptions says how OpenData parts a data set that comes without a validation part.
type DataOptions struct {
	ValSplit float64 // share of each class that is held out, in [0, 1); 0: none, and val is nil
	Seed     uint64  // fixes which images are held out
}

// DataError reports a data set that cannot be used as it is.
type DataError struct {
	Spec, Got, Want string
	Err             error // what the operating system or a decoder said, or nil
}

func (e *DataError) Error() string {
	s := fmt.Sprintf("train: data %q: got %s, want %s", e.Spec, e.Got, e.Want)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *DataError) Unwrap() error { return e.Err }

// UnsupportedError reports data that is valid but of a kind that cannot be read.
type UnsupportedError struct{ What, Want string }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("train: %s cannot be read, want %s", e.What, e.Want)
}

const wantData = "a folder of class folders, idx:DIR or demo"

// OpenData opens what --data names: "demo", "idx:DIR" (see OpenIDX) or a folder of class folders (see OpenFolder).
// Where the data has no validation part of its own, o.ValSplit of each class is held out; nil o holds out nothing,
// and val is then nil. It returns a *DataError for data that cannot be used and an *UnsupportedError for WebDataset
// tar, Parquet and TFRecord.
func OpenData(spec string, o *DataOptions) (train, val Dataset, err error) {
	if o == nil {
		o = &DataOptions{}
	}
	if !(o.ValSplit >= 0 && o.ValSplit < 1) {
		return nil, nil, fmt.Errorf("train: validation split is %g, want at least 0 and below 1", o.ValSplit)
	}
	if what := laterForm(spec); what != "" {
		return nil, nil, &UnsupportedError{What: fmt.Sprintf("data %q: %s", spec, what), Want: wantData}
	}
	dir, isIDX := strings.CutPrefix(spec, "idx:")
	switch {
	case spec == "":
		return nil, nil, errors.New("train: no data given, want " + wantData)
	case spec == "demo":
		train, val, err = openDemo()
	case isIDX:
		train, val, err = OpenIDX(dir)
	default:
		train, val, err = OpenFolder(spec)
	}
	if err != nil {
		return nil, nil, err
	}
	if val == nil && o.ValSplit > 0 {
		train, val, err = Split(train, o.ValSplit, o.Seed)
	}
	return train, val, err
}

// laterForm names the container that spec stands for, or returns "".
func laterForm(spec string) string {
	lower := strings.ToLower(spec)
	for _, f := range []struct {
		prefix, what string
		endings      []string
	}{
		{"tar:", "WebDataset tar", []string{".tar", ".tar.gz", ".tgz"}},
		{"parquet:", "Parquet", []string{".parquet"}},
		{"tfrecord:", "TFRecord", []string{".tfrecord", ".tfrecords"}},
	} {
		if strings.HasPrefix(lower, f.prefix) {
			return f.what
		}
		for _, e := range f.endings {
			if strings.HasSuffix(lower, e) {
				return f.what
			}
		}
	}
	return ""
}

// subset is a Dataset of some images of another.
type subset struct {
	Dataset
	index []int
}

func (s *subset) Len() int                    { return len(s.index) }
func (s *subset) Label(i int) int             { return s.Dataset.Label(s.index[i]) }
func (s *subset) Image(i int) (Pixels, error) { return s.Dataset.Image(s.index[i]) }
func (s *subset) Name(i int) string           { return s.Dataset.Name(s.index[i]) }
func (s *subset) maxSize() (w, h int)         { return maxSize(s.Dataset) }
func (s *subset) imageInto(i int, pix *[]byte) (Pixels, error) {
	return imageInto(s.Dataset, s.index[i], pix)
}

// Split parts d by class: of a class of n images, round(share*n) drawn with the seed go to val, but at least one
// stays on either side where n > 1; a class of one image stays in train. Both parts keep d's order.
func Split(d Dataset, share float64, seed uint64) (train, val Dataset, err error) {
	byClass := make([][]int, len(d.Classes()))
	for i := range d.Len() {
		c := d.Label(i)
		byClass[c] = append(byClass[c], i)
	}
	held := make([]bool, d.Len())
	n := 0
	for c, index := range byClass {
		if len(index) < 2 {
			continue
		}
		k := min(max(int(share*float64(len(index))+0.5), 1), len(index)-1)
		order := permutation(seed, streamSplit, uint32(c), len(index))
		for _, j := range order[:k] {
			held[index[j]] = true
		}
		n += k
	}
	if n == 0 {
		return nil, nil, fmt.Errorf("train: got at most one image in every class, want two or more to hold some out")
	}
	t, v := &subset{Dataset: d}, &subset{Dataset: d}
	for i, h := range held {
		if h {
			v.index = append(v.index, i)
		} else {
			t.index = append(t.index, i)
		}
	}
	return t, v, nil
}

// maxSize returns the largest width and height of d's images where d knows them, else 0, 0.
func maxSize(d Dataset) (w, h int) {
	if s, ok := d.(interface{ maxSize() (w, h int) }); ok {
		return s.maxSize()
	}
	return 0, 0
}
