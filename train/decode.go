package train

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	_ "image/gif"
	_ "image/jpeg"
	_ "image/png"
	"io"
	"os"
	"strings"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/webp"
)

// imageEndings are the file endings that count as images; unreadEndings are images that no decoder here reads.
var (
	imageEndings  = map[string]bool{".png": true, ".jpg": true, ".jpeg": true, ".gif": true, ".bmp": true, ".webp": true}
	unreadEndings = map[string]bool{".tif": true, ".tiff": true, ".heic": true, ".heif": true, ".avif": true, ".jp2": true,
		".jxl": true, ".svg": true}
)

const wantImage = "PNG, JPEG, GIF, WebP or BMP"

// maxPixels bounds what a file may claim to be before memory is taken for it: 16,384 x 16,384.
const maxPixels = 1 << 28

// ImageError reports an image that cannot be read.
type ImageError struct {
	File string
	Err  error
}

func (e *ImageError) Error() string { return fmt.Sprintf("train: image %s: %v", e.File, e.Err) }
func (e *ImageError) Unwrap() error { return e.Err }

// ReadImage reads and decodes an image file; see DecodeImage. The error is an *ImageError.
func ReadImage(file string) (Pixels, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err // the file is named by ImageError
		}
		return Pixels{}, &ImageError{file, err}
	}
	px, err := DecodeImage(data)
	if err != nil {
		return Pixels{}, &ImageError{file, err}
	}
	return px, nil
}

// DecodeImage decodes PNG, JPEG, GIF (the first frame), WebP or BMP of any colour model into 8-bit RGB. Grey values
// are repeated, CMYK and YCbCr are converted, 16-bit samples lose their low byte, and what is transparent shows
// white, as on a page. The EXIF orientation is applied, so that the image is as a viewer shows it. Colour profiles
// are not applied.
func DecodeImage(data []byte) (Pixels, error) {
	cfg, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return Pixels{}, decodeError(err, data)
	}
	if cfg.Width < 1 || cfg.Height < 1 || cfg.Width > maxPixels/cfg.Height {
		return Pixels{}, fmt.Errorf("got %s of %dx%d pixels, want 1 to %d pixels", format, cfg.Width, cfg.Height, maxPixels)
	}
	m, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return Pixels{}, decodeError(err, data)
	}
	// The frame of a GIF may cover a part of the canvas only.
	canvas := image.NewRGBA(image.Rect(0, 0, cfg.Width, cfg.Height).Union(m.Bounds()))
	draw.Draw(canvas, canvas.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.Draw(canvas, m.Bounds(), m, m.Bounds().Min, draw.Over)
	px := Pixels{W: canvas.Rect.Dx(), H: canvas.Rect.Dy(), Pix: canvas.Pix}
	return orient(px, orientation(format, data)), nil
}

// decodeError says in the reader's words what a decoder found.
func decodeError(err error, data []byte) error {
	switch {
	case len(data) == 0:
		return errors.New("got an empty file, want " + wantImage)
	case errors.Is(err, image.ErrFormat):
		return errors.New("got an unknown format, want " + wantImage)
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return fmt.Errorf("the file is cut short after %d bytes: %w", len(data), err)
	}
	return err
}

// orientation finds the EXIF orientation, 1 to 8, in a JPEG's APP1 segment, a PNG's eXIf or a WebP's EXIF chunk; 1 is
// upright and stands for none, and for what is malformed.
func orientation(format string, data []byte) int {
	switch format {
	case "jpeg":
		for at := 2; at+4 <= len(data) && data[at] == 0xff; {
			marker, n := data[at+1], int(binary.BigEndian.Uint16(data[at+2:]))
			if marker == 0xda || n < 2 || at+2+n > len(data) { // start of scan: no more metadata
				break
			}
			if payload := data[at+4 : at+2+n]; marker == 0xe1 && bytes.HasPrefix(payload, []byte("Exif\x00\x00")) {
				return exifOrientation(payload[6:])
			}
			at += 2 + n
		}
	case "png":
		for at := 8; at+8 <= len(data); {
			n := int(binary.BigEndian.Uint32(data[at:]))
			if n > len(data)-at-8 {
				break
			}
			if string(data[at+4:at+8]) == "eXIf" {
				return exifOrientation(data[at+8 : at+8+n])
			}
			at += 12 + n
		}
	case "webp":
		for at := 12; at+8 <= len(data); {
			n := int(binary.LittleEndian.Uint32(data[at+4:]))
			if n > len(data)-at-8 {
				break
			}
			if string(data[at:at+4]) == "EXIF" {
				return exifOrientation(bytes.TrimPrefix(data[at+8:at+8+n], []byte("Exif\x00\x00")))
			}
			at += 8 + n + n&1
		}
	}
	return 1
}

// exifOrientation reads tag 0x0112 of the first directory of a TIFF structure (Exif 2.32, section 4.6.4).
func exifOrientation(tiff []byte) int {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(tiff, []byte("II*\x00")):
		order = binary.LittleEndian
	case bytes.HasPrefix(tiff, []byte("MM\x00*")):
		order = binary.BigEndian
	default:
		return 1
	}
	if len(tiff) < 8 {
		return 1
	}
	at := int64(order.Uint32(tiff[4:]))
	if at+2 > int64(len(tiff)) {
		return 1
	}
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(entries) < 12 {
			break
		}
		if order.Uint16(entries) == 0x0112 {
			if o := int(order.Uint16(entries[8:])); o >= 1 && o <= 8 {
				return o
			}
			break
		}
		entries = entries[12:]
	}
	return 1
}

// orient turns an image stored with an EXIF orientation upright.
func orient(px Pixels, o int) Pixels {
	if o == 1 {
		return px
	}
	out := Pixels{W: px.W, H: px.H, Pix: make([]byte, len(px.Pix))}
	if o >= 5 {
		out.W, out.H = px.H, px.W
	}
	for y := range out.H {
		for x := range out.W {
			sx, sy := x, y
			if o >= 5 { // the stored rows are columns
				sx, sy = y, x
			}
			if o == 2 || o == 3 || o == 7 || o == 8 {
				sx = px.W - 1 - sx
			}
			if o == 3 || o == 4 || o == 6 || o == 7 {
				sy = px.H - 1 - sy
			}
			copy(out.Pix[4*(out.W*y+x):], px.Pix[4*(px.W*sy+sx):][:4])
		}
	}
	return out
}

// ending returns a file's ending in lower case, with its dot.
func ending(name string) string {
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		return strings.ToLower(name[i:])
	}
	return ""
}
