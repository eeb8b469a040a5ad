// Package layers puts kernels together into networks: convolution with batch norm and activation, squeeze-and-excite,
// FusedMBConv, MBConv and the classification head, with their backward passes, and the plan that lays their tensors over
// one another in memory and records every dispatch once.
//
// The graph never writes a normalised activation where it can be avoided. A Tensor is a raw convolution output together
// with what is pending on it (batch norm, SiLU, squeeze-and-excite gate); its reader applies that while loading, forward
// and backward (docs/architecture.md, "Tensors"). Only the outputs of blocks, which are narrow, are written as they are.
//
// The package knows no EfficientNet: package effnetv2 holds the numbers and the names. It imports kernels and vk.
package layers
