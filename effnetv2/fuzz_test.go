package effnetv2

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzDecodeSafetensors wants an error or a state that survives being written and read again.
func FuzzDecodeSafetensors(f *testing.F) {
	seed(f, "testdata/tiny.safetensors")
	f.Fuzz(func(t *testing.T, file []byte) {
		sd, err := DecodeSafetensors(file)
		if err != nil {
			return
		}
		var b bytes.Buffer
		require.NoError(t, sd.Write(&b))
		again, err := DecodeSafetensors(b.Bytes())
		require.NoError(t, err)
		assert.Len(t, again.Names, len(sd.Names))
		_, _, _ = DetectVariant(sd)
		_, _ = ParseMetadata(sd.Metadata)
	})
}

// FuzzReadTorch wants an error or tensors whose elements fit their shapes.
func FuzzReadTorch(f *testing.F) {
	seed(f, "testdata/zip.pth", "testdata/legacy.pth", "testdata/checkpoint.pth")
	f.Fuzz(func(t *testing.T, file []byte) {
		sd, err := readPyTorch(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		for name, x := range sd.Tensors {
			n := 1
			for _, d := range x.Shape {
				n *= d
			}
			assert.Equal(t, n, len(x.F32)+len(x.I64), name)
		}
	})
}

func seed(f *testing.F, paths ...string) {
	for _, p := range paths {
		file, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
}

// TestDamagedFiles cuts files everywhere and flips a bit in every byte: an error or other values, never a panic, never a
// success for a file that is too short.
func TestDamagedFiles(t *testing.T) {
	torch := func(file []byte) (*StateDict, error) { return readPyTorch(bytes.NewReader(file), int64(len(file))) }
	for path, read := range map[string]func([]byte) (*StateDict, error){
		"zip.pth": torch, "legacy.pth": torch, "checkpoint.pth": torch, "tiny.safetensors": DecodeSafetensors} {
		file, err := os.ReadFile("testdata/" + path)
		require.NoError(t, err)
		_, err = read(file)
		require.NoError(t, err)
		for n := range len(file) {
			if _, err := read(file[:n]); err == nil {
				t.Errorf("%s cut to %d of %d bytes is read without an error", path, n, len(file))
			}
		}
		for i := range file {
			flipped := bytes.Clone(file)
			flipped[i] ^= 1 << (i % 8)
			_, _ = read(flipped) // many flips make other valid values
		}
	}
}
