package effnetv2_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
)

// TestRoundTrip writes a network under both namings and reads it back.
func TestRoundTrip(t *testing.T) {
	v := effnetv2.Nano
	weights := effnetv2.Init(v, 10, 1)
	weights["bn1.num_batches_tracked"] = []float32{4711}
	meta := effnetv2.Metadata{Variant: "nano", Classes: 10, ClassNames: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "ü\n\""},
		Mean: [3]float32{0.485, 0.456, 0.406}, Std: [3]float32{0.229, 0.224, 0.225}, Padding: "same", TrainSize: 32, EvalSize: 40,
		Provenance: map[string]string{"command": "vkeffnet train", "top1": "0.83"}}
	for _, naming := range []effnetv2.Naming{effnetv2.Timm, effnetv2.Torchvision} {
		t.Run(naming.String(), func(t *testing.T) {
			sd, err := v.StateDict(10, weights, naming)
			require.NoError(t, err)
			sd.Metadata = meta.Map()
			path := filepath.Join(t.TempDir(), "w.safetensors")
			require.NoError(t, sd.WriteFile(path))

			back, err := effnetv2.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, naming, back.Naming())
			for _, classes := range []int{10, 0} {
				got, err := v.Match(back, classes)
				require.NoError(t, err)
				assert.Equal(t, weights, got)
			}
			gotMeta, err := effnetv2.ParseMetadata(back.Metadata)
			require.NoError(t, err)
			assert.Equal(t, meta, gotMeta)

			var again bytes.Buffer
			require.NoError(t, sd.Write(&again))
			file, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.True(t, bytes.Equal(file, again.Bytes()), "the same state gives the same bytes")
		})
	}
}

func TestDetectVariant(t *testing.T) {
	for _, v := range effnetv2.All() {
		for _, naming := range []effnetv2.Naming{effnetv2.Timm, effnetv2.Torchvision} {
			sd := &effnetv2.StateDict{}
			for _, p := range v.Params(7) {
				sd.Add(p.Name(naming), effnetv2.Tensor{Shape: p.Shape})
			}
			got, classes, err := effnetv2.DetectVariant(sd)
			require.NoError(t, err)
			assert.Equal(t, v.Name, got.Name)
			assert.Equal(t, 7, classes)

			sd.Add("stranger", effnetv2.Tensor{})
			_, _, err = effnetv2.DetectVariant(sd)
			assert.ErrorContains(t, err, "want the tensors of one of the models")
		}
	}
}

func TestMatchSaysWhatIsWrong(t *testing.T) {
	v := effnetv2.Nano
	make := func(change func(sd *effnetv2.StateDict)) *effnetv2.MatchError {
		sd, err := v.StateDict(10, effnetv2.Init(v, 10, 1), effnetv2.Timm)
		require.NoError(t, err)
		change(sd)
		_, err = v.Match(sd, 10)
		var e *effnetv2.MatchError
		require.True(t, errors.As(err, &e), err)
		return e
	}
	remove := func(sd *effnetv2.StateDict, name string) effnetv2.Tensor {
		x := sd.Tensors[name]
		delete(sd.Tensors, name)
		for i, n := range sd.Names {
			if n == name {
				sd.Names = append(sd.Names[:i], sd.Names[i+1:]...)
				break
			}
		}
		return x
	}

	e := make(func(sd *effnetv2.StateDict) {
		sd.Add("blocks.3.0.conv_dww.weight", remove(sd, "blocks.3.0.conv_dw.weight"))
		remove(sd, "bn1.weight")
		sd.Tensors["bn1.bias"] = effnetv2.Tensor{DType: "F32", Shape: []int{9}, F32: make9()}
	})
	assert.Equal(t, []string{"bn1.weight", "blocks.3.0.conv_dw.weight"}, e.Missing)
	assert.Equal(t, []string{"blocks.3.0.conv_dww.weight"}, e.LeftOver)
	assert.ErrorContains(t, e, "2 names missing, 1 left over and 1 of another shape, want those of nano with 10 classes")
	assert.ErrorContains(t, e, "missing: blocks.3.0.conv_dw.weight (nearest left over: blocks.3.0.conv_dww.weight)")
	assert.ErrorContains(t, e, "bn1.bias is [9], want [8]")

	// Weights of another row say which, whatever their naming; those with another classifier say only that.
	b0, err := effnetv2.B0.StateDict(10, effnetv2.Init(effnetv2.B0, 10, 1), effnetv2.Torchvision)
	require.NoError(t, err)
	_, err = v.Match(b0, 10)
	require.ErrorContains(t, err, "these are the weights of b0")
	var wrong *effnetv2.MatchError
	require.True(t, errors.As(err, &wrong))
	assert.Equal(t, "use --model b0", wrong.Hint())
	assert.Less(t, len(err.Error()), 300)
	_, err = effnetv2.B0.Match(b0, 1000)
	require.ErrorContains(t, err, "classifier.1.weight is [10 1280], want [1000 1280]")

	// Counters are all that may be absent.
	sd, err := v.StateDict(10, effnetv2.Init(v, 10, 1), effnetv2.Timm)
	require.NoError(t, err)
	remove(sd, "bn1.num_batches_tracked")
	_, err = v.Match(sd, 10)
	assert.NoError(t, err)

	weights := effnetv2.Init(v, 10, 1)
	delete(weights, "bn1.bias")
	_, err = v.StateDict(10, weights, effnetv2.Timm)
	assert.ErrorContains(t, err, "bn1.bias has 0 elements, want 8")
}

func make9() []float32 { return make([]float32, 9) }

// TestTorchFiles reads what torch.save wrote: every element type, views, parameters, checkpoints.
func TestTorchFiles(t *testing.T) {
	ramp := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(i)/4 - 1
		}
		return x
	}
	transposed := make([]float32, 0, 24)
	for j := range 6 {
		for i := range 4 {
			transposed = append(transposed, ramp(24)[i*6+j])
		}
	}
	for _, name := range []string{"zip.pth", "legacy.pth", "checkpoint.pth"} {
		t.Run(name, func(t *testing.T) {
			sd, err := effnetv2.ReadFile("testdata/" + name)
			require.NoError(t, err)
			assert.Equal(t, []string{"f32", "f64", "f16", "bf16", "i64", "transposed", "row", "empty", "parameter"}, sd.Names)
			assert.Equal(t, effnetv2.Tensor{DType: "F32", Shape: []int{2, 3}, F32: ramp(6)}, sd.Tensors["f32"])
			assert.Equal(t, effnetv2.Tensor{DType: "F64", Shape: []int{5}, F32: ramp(5)}, sd.Tensors["f64"])
			assert.Equal(t, effnetv2.Tensor{DType: "F16", Shape: []int{3}, F32: ramp(3)}, sd.Tensors["f16"])
			assert.Equal(t, effnetv2.Tensor{DType: "BF16", Shape: []int{3}, F32: ramp(3)}, sd.Tensors["bf16"])
			assert.Equal(t, effnetv2.Tensor{DType: "I64", Shape: []int{}, I64: []int64{7}}, sd.Tensors["i64"])
			assert.Equal(t, effnetv2.Tensor{DType: "F32", Shape: []int{6, 4}, F32: transposed}, sd.Tensors["transposed"])
			assert.Equal(t, effnetv2.Tensor{DType: "F32", Shape: []int{6}, F32: ramp(24)[6:12]}, sd.Tensors["row"])
			assert.Equal(t, effnetv2.Tensor{DType: "F32", Shape: []int{0, 3}, F32: []float32{}}, sd.Tensors["empty"])
			assert.Equal(t, effnetv2.Tensor{DType: "F32", Shape: []int{2}, F32: ramp(2)}, sd.Tensors["parameter"])
		})
	}
	_, err := effnetv2.ReadFile("testdata/protocol4.pth")
	assert.ErrorContains(t, err, "pickle protocol 4 or 5, want 2")
	_, err = effnetv2.ReadFile("testdata/module.pth")
	assert.ErrorContains(t, err, "save model.state_dict()")
}

func TestReadFileRefuses(t *testing.T) {
	dir := t.TempDir()
	_, err := effnetv2.ReadFile(filepath.Join(dir, "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = effnetv2.ReadFile(dir)
	assert.ErrorContains(t, err, "is a folder, want a file")
	path := filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(path, []byte("These are not weights, whatever the name says."), 0o644))
	_, err = effnetv2.ReadFile(path)
	assert.ErrorContains(t, err, "not a safetensors file or a damaged one (46 bytes)")
}

// safetensor is a one-tensor file with the given header fields.
func safetensor(dtype, shape string, data []byte) []byte {
	header := fmt.Sprintf(`{"x":{"dtype":%q,"shape":%s,"data_offsets":[0,%d]}}`, dtype, shape, len(data))
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
}

// TestHalfAndOtherTypes widens every half and a few of each other type.
func TestHalfAndOtherTypes(t *testing.T) {
	var halves []byte
	for h := range 1 << 16 {
		halves = binary.LittleEndian.AppendUint16(halves, uint16(h))
	}
	sd, err := effnetv2.DecodeSafetensors(safetensor("F16", "[65536]", halves))
	require.NoError(t, err)
	for h, got := range sd.Tensors["x"].F32 {
		exp, frac := h>>10&31, float64(h&1023)
		want := math.Ldexp(1024+frac, exp-25)
		switch {
		case exp == 0:
			want = math.Ldexp(frac, -24)
		case exp == 31 && frac == 0:
			want = math.Inf(1)
		case exp == 31:
			want = math.NaN()
		}
		want = math.Copysign(want, float64(1-2*(h>>15)))
		if math.IsNaN(want) {
			assert.True(t, math.IsNaN(float64(got)))
		} else if float32(want) != got || math.Signbit(want) != math.Signbit(float64(got)) {
			t.Fatalf("half %#x is %v, want %v", h, got, want)
		}
	}
	for dtype, row := range map[string]struct {
		data []byte
		want []int64
	}{
		"I8": {[]byte{255, 1}, []int64{-1, 1}}, "U8": {[]byte{255, 1}, []int64{255, 1}}, "BOOL": {[]byte{0, 1}, []int64{0, 1}},
		"I16": {[]byte{254, 255, 1, 0}, []int64{-2, 1}}, "U16": {[]byte{254, 255, 1, 0}, []int64{65534, 1}},
		"I32": {[]byte{254, 255, 255, 255, 1, 0, 0, 0}, []int64{-2, 1}}, "U32": {[]byte{254, 255, 255, 255, 1, 0, 0, 0}, []int64{4294967294, 1}},
	} {
		sd, err := effnetv2.DecodeSafetensors(safetensor(dtype, "[2]", row.data))
		require.NoError(t, err)
		assert.Equal(t, row.want, sd.Tensors["x"].I64, dtype)
	}
	sd, err = effnetv2.DecodeSafetensors(safetensor("BF16", "[1]", []byte{0xc0, 0xbf}))
	require.NoError(t, err)
	assert.Equal(t, []float32{-1.5}, sd.Tensors["x"].F32)
	_, err = effnetv2.DecodeSafetensors(safetensor("F32", "[4294967296, 0]", nil))
	assert.ErrorContains(t, err, "a dimension is 4294967296")
}

// TestWriteFileAtomic fails in the middle: the old file stays, and nothing lies beside it.
func TestWriteFileAtomic(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "w.safetensors")
	require.NoError(t, effnetv2.WriteFileAtomic(path, func(w io.Writer) error { _, err := w.Write([]byte("old")); return err }))

	err := effnetv2.WriteFileAtomic(path, func(w io.Writer) error {
		if _, err := w.Write([]byte("new, half")); err != nil {
			return err
		}
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer full.Close()
		_, err = full.Write([]byte("way"))
		return err
	})
	assert.ErrorIs(t, err, syscall.ENOSPC)
	var failed *effnetv2.WriteError
	require.True(t, errors.As(err, &failed))
	assert.Contains(t, failed.Hint(), "free some space on the disk of "+dir)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "old", string(content))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1)

	err = effnetv2.WriteFileAtomic(filepath.Join(dir, "no", "such"), func(io.Writer) error { return nil })
	require.True(t, errors.As(err, &failed))
	assert.Contains(t, failed.Hint(), "does not exist")
}

func TestMetadataRefuses(t *testing.T) {
	_, err := effnetv2.ParseMetadata(map[string]string{"classes": "ten"})
	assert.ErrorContains(t, err, `metadata classes is "ten"`)
	_, err = effnetv2.ParseMetadata(map[string]string{"classes": "3", "class_names": `["a"]`})
	assert.ErrorContains(t, err, "1 class names, want 3")
	m, err := effnetv2.ParseMetadata(map[string]string{"format": "pt"})
	assert.NoError(t, err)
	assert.Equal(t, effnetv2.Metadata{}, m)
}

func TestBatch(t *testing.T) {
	dir := t.TempDir()
	read := func(images, labels *effnetv2.Tensor) (*effnetv2.Batch, error) {
		sd := &effnetv2.StateDict{}
		if images != nil {
			sd.Add("images", *images)
		}
		if labels != nil {
			sd.Add("labels", *labels)
		}
		path := filepath.Join(dir, "b.safetensors")
		require.NoError(t, sd.WriteFile(path))
		return effnetv2.ReadBatch(path, 10, true)
	}
	images := func(shape ...int) *effnetv2.Tensor {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return &effnetv2.Tensor{Shape: shape, F32: make([]float32, n)}
	}
	labels := func(l ...int64) *effnetv2.Tensor { return &effnetv2.Tensor{Shape: []int{len(l)}, I64: l} }

	b, err := read(images(2, 3, 33, 47), labels(9, 0))
	require.NoError(t, err)
	assert.Equal(t, effnetv2.Batch{Images: images(2, 3, 33, 47).F32, Labels: []int64{9, 0}, N: 2, H: 33, W: 47}, *b)
	for want, args := range map[string][2]*effnetv2.Tensor{
		"want images and labels":                  {nil, labels(1)},
		"want labels too":                         {images(1, 3, 32, 32), nil},
		"images are F32 [1 32 32 3], want F32 [N": {images(1, 32, 32, 3), labels(1)},
		"at least 32x32":                          {images(1, 3, 31, 32), labels(1)},
		"labels are I64 [2], want I64 [1]":        {images(1, 3, 32, 32), labels(1, 2)},
		"label 1 is 10, want 0 to 9":              {images(2, 3, 32, 32), labels(1, 10)},
		"labels are F32 [1], want I64 [1]":        {images(1, 3, 32, 32), images(1)},
	} {
		_, err := read(args[0], args[1])
		assert.ErrorContains(t, err, want)
	}
}

func TestWriteStep(t *testing.T) {
	v, path := effnetv2.Nano, filepath.Join(t.TempDir(), "o.safetensors")
	out := &effnetv2.StepOutput{Logits: make([]float32, 20), Loss: 2.5, Grads: map[string][]float32{}, Buffers: map[string][]float32{}}
	for _, p := range v.Params(10) {
		into := out.Buffers
		if p.Trainable {
			into = out.Grads
		}
		into[p.Timm] = make([]float32, p.Len())
	}
	require.NoError(t, v.WriteStep(path, 2, 10, out, true))
	sd, err := effnetv2.ReadFile(path)
	require.NoError(t, err)
	assert.Len(t, sd.Names, 2+len(v.Params(10)))
	assert.Equal(t, []int{2, 10}, sd.Tensors["logits"].Shape)
	assert.Equal(t, []float32{2.5}, sd.Tensors["loss"].F32)
	assert.Equal(t, []int{64, 16, 1, 1}, sd.Tensors["grad.features.4.0.block.0.0.weight"].Shape)
	assert.Equal(t, []int{8}, sd.Tensors["buffer.features.0.1.running_var"].Shape)
	assert.Equal(t, []int64{0}, sd.Tensors["buffer.features.0.1.num_batches_tracked"].I64)

	require.NoError(t, v.WriteStep(path, 2, 10, out, false))
	sd, err = effnetv2.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, []string{"logits"}, sd.Names)

	delete(out.Grads, "bn1.bias")
	assert.ErrorContains(t, v.WriteStep(path, 2, 10, out, true), "grad.features.0.1.bias has 0 elements, want [8]")
}
