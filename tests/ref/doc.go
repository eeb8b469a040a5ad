// Package ref holds naive float64 twins of every kernel, one stem per operation: what a kernel computes, written so
// that it can be checked by eye. Tensors are dense slices in the layouts of docs/architecture.md.
package ref
