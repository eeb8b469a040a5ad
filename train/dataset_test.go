package train_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/seed-8d806880/vkeffnet/train"
)

func crc(b []byte) uint32 { return crc32.ChecksumIEEE(b) }

// writeFiles makes files of a folder; a name that ends in a slash makes an empty folder.
func writeFiles(t *testing.T, dir string, data []byte, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if strings.HasSuffix(name, "/") {
			require.NoError(t, os.MkdirAll(path, 0o755))
			continue
		}
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, data, 0o644))
	}
}

func labelsOf(d train.Dataset) []int {
	var labels []int
	for i := range d.Len() {
		labels = append(labels, d.Label(i))
	}
	return labels
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	png := encodePNG(t, quarters(6, 4))
	writeFiles(t, dir, png, "zebra/1.PNG", "ant/b.png", "ant/a.png", "ant/deep/c.png", "ant/notes.txt", ".hidden/x.png", "ant/._a.png", "README.md")
	tr, val, err := train.OpenData(dir, nil)
	require.NoError(t, err)
	assert.Nil(t, val)
	assert.Equal(t, []string{"ant", "zebra"}, tr.Classes())
	assert.Equal(t, []int{0, 0, 0, 1}, labelsOf(tr))
	assert.Equal(t, "ant/deep/c.png", tr.Name(2))
	px, err := tr.Image(3)
	require.NoError(t, err)
	assert.Equal(t, [2]int{6, 4}, [2]int{px.W, px.H})
}

func TestFolderWithValidation(t *testing.T) {
	dir := t.TempDir()
	png := encodePNG(t, quarters(2, 2))
	writeFiles(t, dir, png, "train/a/1.png", "train/b/1.png", "train/c/1.png", "val/c/1.png", "val/a/1.png")
	tr, val, err := train.OpenData(dir, &train.DataOptions{ValSplit: 0.5})
	require.NoError(t, err)
	assert.Equal(t, []int{0, 1, 2}, labelsOf(tr))
	assert.Equal(t, []int{0, 2}, labelsOf(val), "labels follow the training set's classes")
	assert.Equal(t, tr.Classes(), val.Classes())

	require.NoError(t, os.Symlink(filepath.Join(dir, "train", "a"), filepath.Join(dir, "val", "b")))
	_, val, err = train.OpenData(dir, nil)
	require.NoError(t, err)
	assert.Equal(t, []int{0, 1, 2}, labelsOf(val), "a class folder may be a link")

	writeFiles(t, dir, png, "val/d/1.png")
	_, _, err = train.OpenData(dir, nil)
	assert.ErrorContains(t, err, `got a class "d" that the training set lacks, want classes among a, b, c`)
}

func TestDataErrors(t *testing.T) {
	png := encodePNG(t, quarters(2, 2))
	for _, row := range []struct {
		name  string
		files []string
		spec  string // below the folder
		want  string
	}{
		{"empty folder", []string{"d/"}, "d", "got an empty folder, want class folders with PNG"},
		{"class without images", []string{"d/a/1.png", "d/b/"}, "d", `got a class folder "b" without images`},
		{"class with text only", []string{"d/a/1.png", "d/b/x.txt"}, "d", `got a class folder "b" without images`},
		{"no class folders", []string{"d/1.png"}, "d", `got images such as "1.png" but no class folder`},
		{"no such folder", nil, "none", "got a name that cannot be opened"},
		{"a file", []string{"d/a/1.png"}, "d/a/1.png", "got a file, want a folder"},
		{"val alone", []string{"val/a/1.png"}, "", "got val/ without train/"},
		{"tiff", []string{"d/a/1.png", "d/a/2.tif"}, "d", "2.tif cannot be read, want PNG"},
		{"shards in a folder", []string{"d/train-0001.tar"}, "d", "WebDataset tar cannot be read"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			writeFiles(t, dir, png, row.files...)
			_, _, err := train.OpenData(filepath.Join(dir, row.spec), nil)
			assert.ErrorContains(t, err, row.want)
			assert.ErrorContains(t, err, filepath.Join(dir, row.spec))
		})
	}
	for spec, want := range map[string]string{
		"":                 "no data given",
		"shards.tar":       "WebDataset tar cannot be read, want a folder of class folders",
		"tar:x-{0..9}":     "WebDataset tar",
		"hub.parquet":      "Parquet",
		"tfrecord:/data":   "TFRecord",
		"idx:/nonexistent": "got a name that is not a folder",
	} {
		_, _, err := train.OpenData(spec, nil)
		assert.ErrorContains(t, err, want)
	}
	_, _, err := train.OpenData("demo", &train.DataOptions{ValSplit: 1})
	assert.ErrorContains(t, err, "validation split is 1")
}

// many is a data set of given labels without images.
type many struct {
	train.Dataset
	labels, classes int
}

func (m many) Len() int          { return m.labels }
func (m many) Label(i int) int   { return i * 7 % m.classes }
func (m many) Classes() []string { return make([]string, m.classes) }
func (m many) Name(i int) string { return string(rune(i)) }

func TestSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := many{labels: rapid.IntRange(20, 300).Draw(t, "n"), classes: rapid.IntRange(1, 9).Draw(t, "classes")}
		share := rapid.Float64Range(0.01, 0.99).Draw(t, "share")
		seed := rapid.Uint64().Draw(t, "seed")
		a, b, err := train.Split(d, share, seed)
		require.NoError(t, err)
		assert.Equal(t, d.Len(), a.Len()+b.Len())
		seen := map[string]bool{}
		count := [2][]int{make([]int, d.classes), make([]int, d.classes)}
		for side, part := range []train.Dataset{a, b} {
			for i := range part.Len() {
				assert.False(t, seen[part.Name(i)], "an image is in one part only")
				seen[part.Name(i)] = true
				count[side][part.Label(i)]++
			}
		}
		for c := range d.classes {
			n := count[0][c] + count[1][c]
			if n > 1 {
				assert.NotZero(t, count[0][c])
				assert.NotZero(t, count[1][c])
				assert.InDelta(t, share*float64(n), count[1][c], 1)
			}
		}
		_, again, err := train.Split(d, share, seed)
		require.NoError(t, err)
		for i := range b.Len() {
			assert.Equal(t, b.Name(i), again.Name(i))
		}
	})
	_, _, err := train.Split(many{labels: 1, classes: 1}, 0.5, 0)
	assert.ErrorContains(t, err, "want two or more")
}

// idx returns an IDX file.
func idx(zip bool, data []byte, dims ...uint32) []byte {
	b := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	b = append(b, data...)
	if !zip {
		return b
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b)
	w.Close()
	return z.Bytes()
}

func TestIDX(t *testing.T) {
	for _, zip := range []bool{false, true} {
		dir, end := t.TempDir(), ""
		if zip {
			end = ".gz"
		}
		writeFiles(t, dir, idx(zip, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 2, 2, 3), "train-images-idx3-ubyte"+end)
		writeFiles(t, dir, idx(zip, []byte{2, 0}, 2), "train-labels.idx1-ubyte"+end)
		tr, val, err := train.OpenData("idx:"+dir, nil)
		require.NoError(t, err)
		assert.Nil(t, val)
		assert.Equal(t, []string{"0", "1", "2"}, tr.Classes())
		assert.Equal(t, []int{2, 0}, labelsOf(tr))
		px, err := tr.Image(1)
		require.NoError(t, err)
		assert.Equal(t, train.Pixels{W: 3, H: 2, Pix: []byte{7, 7, 7, 255, 8, 8, 8, 255, 9, 9, 9, 255, 10, 10, 10, 255, 11, 11, 11, 255, 12, 12, 12, 255}}, px)

		writeFiles(t, dir, idx(zip, []byte{9, 8, 7}, 1, 1, 1, 3), "test-images-idx4-ubyte"+end)
		writeFiles(t, dir, idx(zip, []byte{3}, 1), "test-labels-idx1-ubyte"+end)
		writeFiles(t, dir, []byte("red\r\ngreen\nblue\nwhite\n"), "labels.txt")
		tr, val, err = train.OpenData("idx:"+dir, nil)
		require.NoError(t, err)
		assert.Equal(t, []string{"red", "green", "blue", "white"}, tr.Classes())
		assert.Equal(t, 1, val.Len())
		px, err = val.Image(0)
		require.NoError(t, err)
		assert.Equal(t, []byte{9, 8, 7, 255}, px.Pix)

		writeFiles(t, dir, []byte("red\ngreen\n"), "labels.txt")
		_, _, err = train.OpenData("idx:"+dir, nil)
		assert.ErrorContains(t, err, "labels.txt: got 2 names, want one for each label from 0 to 3")
	}
}

func TestIDXErrors(t *testing.T) {
	good := idx(false, []byte{0, 1}, 2)
	for name, row := range map[string]struct {
		images, labels []byte
		want           string
	}{
		"no header":     {nil, good, "got no IDX header"},
		"other magic":   {[]byte("PNG file, not IDX"), good, "got magic number"},
		"cut short":     {idx(false, []byte{1}, 2, 1, 1), good, "got 1 of 2 bytes: unexpected EOF"},
		"cut gzip":      {idx(true, make([]byte, 800), 2, 20, 20)[:30], good, "unexpected EOF"},
		"too long":      {idx(false, []byte{1, 2, 3}, 2, 1, 1), good, "got more than the 2 bytes"},
		"claims a lot":  {idx(false, []byte{1}, 1<<31, 1<<31, 1<<31), good, "want at most"},
		"count differs": {idx(false, []byte{1, 2, 3}, 3, 1, 1), good, "got 3 images and 2 labels"},
		"rank":          {idx(false, []byte{1, 2}, 2), good, "got shape [2], want [N H W]"},
		"no pixel":      {idx(false, nil, 2, 0, 5), good, "want at least one pixel"},
		"labels rank":   {idx(false, []byte{1, 2}, 2, 1, 1), idx(false, []byte{0, 1}, 2, 1), "got shape [2 1], want [N]"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeFiles(t, dir, row.images, "train-images-idx3-ubyte")
			writeFiles(t, dir, row.labels, "train-labels-idx1-ubyte")
			_, _, err := train.OpenData("idx:"+dir, nil)
			assert.ErrorContains(t, err, row.want)
			assert.ErrorContains(t, err, "idx:"+dir)
		})
	}
	_, _, err := train.OpenData("idx:"+t.TempDir(), nil)
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "train-images-idx3-ubyte")
}

// TestDemo pins what is embedded: 600 and 100 of each class, in the order of the complete set.
func TestDemo(t *testing.T) {
	tr, val, err := train.OpenData("demo", nil)
	require.NoError(t, err)
	assert.Equal(t, "Ankle boot", tr.Classes()[9])
	assert.Equal(t, []int{9, 0, 0, 3, 0, 2, 7, 2, 5, 5}, labelsOf(tr)[:10])
	for d, each := range map[train.Dataset]int{tr: 600, val: 100} {
		count := make([]int, 10)
		for _, l := range labelsOf(d) {
			count[l]++
		}
		for c, n := range count {
			assert.Equal(t, each, n, d.Classes()[c])
		}
		px, err := d.Image(0)
		require.NoError(t, err)
		assert.Equal(t, [2]int{28, 28}, [2]int{px.W, px.H})
	}
	assert.Equal(t, "demo train 17", tr.Name(17))
}

// TestFashionNames reads the whole set where Debian's package has put it.
func TestFashionNames(t *testing.T) {
	const dir = "/usr/share/datasets/fashion-mnist"
	if _, err := os.Stat(dir); err != nil {
		t.Logf("%s is not installed: only the embedded part is tested", dir)
		return
	}
	tr, val, err := train.OpenData("idx:"+dir, nil)
	require.NoError(t, err)
	assert.Equal(t, 60000, tr.Len())
	assert.Equal(t, 10000, val.Len())
	assert.Equal(t, "T-shirt/top", val.Classes()[0])
}
