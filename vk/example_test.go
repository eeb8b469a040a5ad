package vk_test

import (
	"context"
	_ "embed"
	"fmt"
	"log"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// Compiled with glslangValidator -V --target-env vulkan1.1 -o square.spv square.comp.
//
//go:embed testdata/square.spv
var squareSPIRV []byte

var square = &vk.Shader{Name: "square", SPIRV: squareSPIRV, Push: 4, Local: [3]uint32{64, 1, 1}, LocalID: [3]int32{-1, -1, -1},
	Bindings: []vk.Binding{{Name: "X", Access: vk.Read | vk.Write}}}

// A shader of one's own, testdata/square.comp, squares the numbers of a buffer.
func Example() {
	check := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	numbers := []float32{1, 2, 3, -4}
	dev, err := vk.Open(nil)
	check(err)
	defer dev.Close()
	x, err := dev.NewBuffer("x", 4*4, vk.DeviceMemory)
	check(err)
	check(dev.Upload(x.Range(), vk.Bytes(numbers)))
	rec := dev.NewRecorder("squares")
	rec.Dispatch(vk.Call{Shader: square, Push: vk.Bytes([]uint32{4}), Bind: []vk.Range{x.Range()}, Groups: [3]uint32{1, 1, 1}})
	program, err := rec.Build(context.Background(), nil)
	check(err)
	check(program.Run(context.Background()))
	check(dev.Download(x.Range(), vk.Bytes(numbers)))
	fmt.Println(numbers)
	// Output: [1 4 9 16]
}
