package train_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/image/bmp"
	"pgregory.net/rapid"

	"github.com/seed-8d806880/vkeffnet/train"
)

// quarters is an image of four plain quarters, which tell its orientation: red, green above blue, grey.
func quarters(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := [2][2]color.RGBA{{{255, 0, 0, 255}, {0, 255, 0, 255}}, {{0, 0, 255, 255}, {90, 90, 90, 255}}}[y*2/h][x*2/w]
			m.Set(x, y, c)
		}
	}
	return m
}

func encodePNG(t require.TestingT, m image.Image) []byte {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	return b.Bytes()
}

func encodeJPEG(t require.TestingT, m image.Image) []byte {
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, m, &jpeg.Options{Quality: 98}))
	return b.Bytes()
}

func at(px train.Pixels, x, y int) [3]byte { return [3]byte(px.Pix[4*(px.W*y+x):][:3]) }

func TestDecodeColourModels(t *testing.T) {
	fill := func(m interface {
		image.Image
		Set(x, y int, c color.Color)
	}, c color.Color) image.Image {
		for y := range 3 {
			for x := range 5 {
				m.Set(x, y, c)
			}
		}
		return m
	}
	r := image.Rect(0, 0, 5, 3)
	var asGIF, asBMP bytes.Buffer
	require.NoError(t, gif.Encode(&asGIF, fill(image.NewPaletted(r, color.Palette{color.Black, color.RGBA{200, 100, 50, 255}}), color.RGBA{200, 100, 50, 255}), nil))
	require.NoError(t, bmp.Encode(&asBMP, fill(image.NewRGBA(r), color.RGBA{200, 100, 50, 255})))
	for name, row := range map[string]struct {
		data []byte
		want [3]byte
	}{
		"rgb":         {encodePNG(t, fill(image.NewRGBA(r), color.RGBA{200, 100, 50, 255})), [3]byte{200, 100, 50}},
		"grey":        {encodePNG(t, fill(image.NewGray(r), color.Gray{77})), [3]byte{77, 77, 77}},
		"grey 16":     {encodePNG(t, fill(image.NewGray16(r), color.Gray16{0xabcd})), [3]byte{0xab, 0xab, 0xab}},
		"rgb 16":      {encodePNG(t, fill(image.NewNRGBA64(r), color.NRGBA64{0x1234, 0x5678, 0x9abc, 0xffff})), [3]byte{0x12, 0x56, 0x9a}},
		"transparent": {encodePNG(t, fill(image.NewNRGBA(r), color.NRGBA{9, 9, 9, 0})), [3]byte{255, 255, 255}},
		"half black":  {encodePNG(t, fill(image.NewNRGBA(r), color.NRGBA{0, 0, 0, 128})), [3]byte{127, 127, 127}},
		"gif":         {asGIF.Bytes(), [3]byte{200, 100, 50}},
		"bmp":         {asBMP.Bytes(), [3]byte{200, 100, 50}},
	} {
		t.Run(name, func(t *testing.T) {
			px, err := train.DecodeImage(row.data)
			require.NoError(t, err)
			assert.Equal(t, [2]int{5, 3}, [2]int{px.W, px.H})
			for i := 0; i < len(px.Pix); i += 4 {
				assert.Equal(t, append(row.want[:], 255), px.Pix[i:i+4])
			}
		})
	}
}

// TestDecodeCMYK reads a JPEG of four components, which Pillow made: Image.new("RGB", (16, 8), (200, 100, 50)) as CMYK.
func TestDecodeCMYK(t *testing.T) {
	px, err := train.ReadImage("testdata/cmyk.jpg")
	require.NoError(t, err)
	assert.Equal(t, [2]int{16, 8}, [2]int{px.W, px.H})
	got := at(px, 8, 4)
	for c, want := range [3]int{200, 100, 50} {
		assert.InDelta(t, want, int(got[c]), 6)
	}
}

// TestDecodeSmallGIFFrame has a frame of one pixel on a canvas of 3x2.
func TestDecodeSmallGIFFrame(t *testing.T) {
	frame := image.NewPaletted(image.Rect(1, 1, 2, 2), color.Palette{color.RGBA{10, 20, 30, 255}, color.White})
	var b bytes.Buffer
	require.NoError(t, gif.EncodeAll(&b, &gif.GIF{Image: []*image.Paletted{frame}, Delay: []int{0}, Config: image.Config{Width: 3, Height: 2}}))
	px, err := train.DecodeImage(b.Bytes())
	require.NoError(t, err)
	assert.Equal(t, [2]int{3, 2}, [2]int{px.W, px.H})
	assert.Equal(t, [3]byte{10, 20, 30}, at(px, 1, 1))
	assert.Equal(t, [3]byte{255, 255, 255}, at(px, 0, 0))
}

// exif is a TIFF structure whose first directory holds an orientation.
func exif(order binary.AppendByteOrder, orientation int) []byte {
	b := []byte("II*\x00")
	if order.AppendUint16(nil, 1)[0] == 0 {
		b = []byte("MM\x00*")
	}
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 2)
	for _, entry := range [][2]uint16{{0x0100, 7}, {0x0112, uint16(orientation)}} {
		b = order.AppendUint16(b, entry[0])
		b = order.AppendUint16(b, 3)
		b = order.AppendUint32(b, 1)
		b = order.AppendUint16(b, entry[1])
		b = order.AppendUint16(b, 0)
	}
	return order.AppendUint32(b, 0)
}

// withExif puts an EXIF block into a JPEG, as its first segment, or into a PNG, after IHDR.
func withExif(data, tiff []byte) []byte {
	if bytes.HasPrefix(data, []byte{0xff, 0xd8}) {
		seg := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(2+6+len(tiff)))
		seg = append(append(seg, "Exif\x00\x00"...), tiff...)
		return append(append(append([]byte(nil), data[:2]...), seg...), data[2:]...)
	}
	chunk := append(binary.BigEndian.AppendUint32(nil, uint32(len(tiff))), "eXIf"...)
	chunk = append(append(chunk, tiff...), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(chunk[len(chunk)-4:], crc(chunk[4:len(chunk)-4]))
	return append(append(append([]byte(nil), data[:33]...), chunk...), data[33:]...)
}

// TestOrientation stores an image under each EXIF orientation. Where the stored first row and column are shown is the
// definition of the tag (Exif 2.32, section 4.6.4 A).
func TestOrientation(t *testing.T) {
	const w, h = 32, 16
	red, green, blue, grey := [3]byte{255, 0, 0}, [3]byte{0, 255, 0}, [3]byte{0, 0, 255}, [3]byte{90, 90, 90}
	shown := map[int][4][3]byte{ // top left, top right, bottom left, bottom right
		1: {red, green, blue, grey}, 2: {green, red, grey, blue}, 3: {grey, blue, green, red}, 4: {blue, grey, red, green},
		5: {red, blue, green, grey}, 6: {blue, red, grey, green}, 7: {grey, green, blue, red}, 8: {green, grey, red, blue},
	}
	for o := 1; o <= 8; o++ {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			for kind, data := range map[string][]byte{"jpeg": encodeJPEG(t, quarters(w, h)), "png": encodePNG(t, quarters(w, h))} {
				t.Run(fmt.Sprintf("%d/%v/%s", o, order, kind), func(t *testing.T) {
					px, err := train.DecodeImage(withExif(data, exif(order, o)))
					require.NoError(t, err)
					size := [2]int{w, h}
					if o >= 5 {
						size = [2]int{h, w}
					}
					require.Equal(t, size, [2]int{px.W, px.H})
					for i, want := range shown[o] {
						got := at(px, 2+i%2*(px.W-5), 2+i/2*(px.H-5))
						for c := range 3 {
							assert.InDelta(t, int(want[c]), int(got[c]), 4, "corner %d", i)
						}
					}
				})
			}
		}
	}
}

func TestReadImageErrors(t *testing.T) {
	dir := t.TempDir()
	whole := encodeJPEG(t, quarters(64, 64))
	bomb := encodePNG(t, quarters(2, 2))
	binary.BigEndian.PutUint32(bomb[16:], 1<<20)
	binary.BigEndian.PutUint32(bomb[20:], 1<<20)
	binary.BigEndian.PutUint32(bomb[29:], crc(bomb[12:29]))
	for name, row := range map[string]struct {
		data []byte
		want string
	}{
		"cut.jpg":   {whole[:len(whole)/2], "the file is cut short after"},
		"cut.png":   {encodePNG(t, quarters(64, 64))[:50], "not enough pixel data"},
		"empty.jpg": {nil, "got an empty file, want PNG, JPEG"},
		"text.png":  {[]byte("not an image"), "got an unknown format, want PNG, JPEG"},
		"bomb.png":  {bomb, "1048576x1048576 pixels"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(file, row.data, 0o644))
			_, err := train.ReadImage(file)
			var bad *train.ImageError
			require.ErrorAs(t, err, &bad)
			assert.Equal(t, file, bad.File)
			assert.ErrorContains(t, err, row.want)
			assert.ErrorContains(t, err, file)
		})
	}
	_, err := train.ReadImage(filepath.Join(dir, "none.png"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// TestDecodeDamaged changes and cuts real files: there may be an error but no panic, and what is decoded is whole.
func TestDecodeDamaged(t *testing.T) {
	files := [][]byte{
		withExif(encodeJPEG(t, quarters(24, 16)), exif(binary.LittleEndian, 6)),
		withExif(encodePNG(t, quarters(24, 16)), exif(binary.BigEndian, 8)),
	}
	rapid.Check(t, func(t *rapid.T) {
		data := bytes.Clone(rapid.SampledFrom(files).Draw(t, "file"))
		for range rapid.IntRange(0, 4).Draw(t, "changes") {
			data[rapid.IntRange(0, len(data)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		data = data[:rapid.IntRange(0, len(data)).Draw(t, "length")]
		if px, err := train.DecodeImage(data); err == nil {
			assert.Len(t, px.Pix, 4*px.W*px.H)
		}
	})
}
