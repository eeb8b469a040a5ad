package kernels

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/x448/float16"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// Elem is how activations and their gradients are stored. Arithmetic and sums are float32 whatever it is, except that the coopmat
// variants of dense convolutions round what they multiply to it; a stored value is rounded to nearest. Weights, their gradients,
// statistics, gates and everything per channel are float32.
type Elem int

const (
	F32  Elem = iota
	F16       // IEEE half: 11 bits of precision up to 65504, so gradients need loss scaling
	BF16      // bfloat16: 8 bits of precision in float32's range
)

// ParseElem is the inverse of String.
func ParseElem(name string) (Elem, error) {
	for _, e := range []Elem{F32, F16, BF16} {
		if name == e.String() {
			return e, nil
		}
	}
	return F32, fmt.Errorf("kernels: precision: got %q, want f32, f16 or bf16", name)
}

// String is "f32", "f16" or "bf16".
func (e Elem) String() string { return [...]string{"f32", "f16", "bf16"}[e] }

// Bytes is the size of one element.
func (e Elem) Bytes() int64 {
	if e == F32 {
		return 4
	}
	return 2
}

// Append appends x in little-endian order to b, each number rounded to nearest, ties to even.
func (e Elem) Append(b []byte, x []float32) []byte {
	for _, v := range x {
		switch e {
		case F32:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		case F16:
			b = binary.LittleEndian.AppendUint16(b, float16.Fromfloat32(v).Bits())
		case BF16:
			u := math.Float32bits(v)
			if v == v {
				u += 0x7fff + u>>16&1
			}
			b = binary.LittleEndian.AppendUint16(b, uint16(u>>16))
		}
	}
	return b
}

// Decode is the inverse of Append.
func (e Elem) Decode(b []byte) []float32 {
	x := make([]float32, int64(len(b))/e.Bytes())
	for i := range x {
		switch e {
		case F32:
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		case F16:
			x[i] = float16.Frombits(binary.LittleEndian.Uint16(b[2*i:])).Float32()
		case BF16:
			x[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*i:])) << 16)
		}
	}
	return x
}

// elemFeature is what a shader that stores 16 bits needs.
const elemFeature = "storageBuffer16BitAccess"

// Check returns a *vk.UnsupportedError if the device cannot store e.
func (e Elem) Check(dev *vk.Device) error {
	if e == F32 || dev.Has(elemFeature) {
		return nil
	}
	return &vk.UnsupportedError{What: "storing activations as " + e.String(), Needs: elemFeature}
}

// pick returns the variant of a shader for e.
func (e Elem) pick(f32, f16, bf16 *vk.Shader) *vk.Shader {
	return [...]*vk.Shader{f32, f16, bf16}[e]
}
