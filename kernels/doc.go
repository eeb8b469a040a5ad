// Package kernels has one type for each operation of the network and each of its passes. A constructor checks shapes,
// chooses the variant of the shader and sizes the scratch memory; Record appends the dispatches to a vk.Recorder. No
// operation knows of layers or models. What kernels and layers agree on, tensors with something pending, gradients built
// on load, sinks and partial sums, is in docs/architecture.md.
//
// Errors are *ShapeError where the arguments cannot form the operation and *vk.UnsupportedError where the device cannot
// run it. Every operation has a float64 twin of the same stem in tests/ref.
//
// # Glossary
//
//	Fwd, Dgrad, Wgrad   forward pass; gradient of the input (backward data); gradient of the weights (backward filter)
//	x, w, y             input, weights, raw output; dx, dw, dy are the gradients of the loss with respect to them
//	z, u                z = scale*(y-mean)+beta, u = act(z); yhat = (y-mean)*rstd
//	N H W C             images, height, width and channels of the input; K P Q: channels, height and width of the output
//	R S                 height and width of the filter
//	gemmM, gemmN, gemmK sizes of the matrix product behind a convolution
//	workspace           memory that lives from the forward to the backward pass; scratch lives for one operation
//	part                one workgroup's share of a sum over pixels; parts are added in a second, deterministic stage
package kernels
