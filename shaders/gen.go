// Package shaders holds the GLSL compute shaders, their SPIR-V and the Go contract that tools/glslc generates from both.
//
// variants.toml lists every variant; `make shaders` (or go generate) compiles them. The generated files are committed,
// so that building the program needs no shader compiler; a test compiles again and compares. Each source NAME.comp
// gives NAMEParams (push constants), NAMESpec (specialization constants), NAMEBindings (storage buffers) and one
// [vk.Shader] per variant.
//
// The package depends on vk alone and holds no logic: package kernels records these shaders.
package shaders

//go:generate go run ../tools/glslc -dir .
