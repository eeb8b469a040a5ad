// Package effnetv2 is EfficientNetV2 (Tan and Le, arXiv:2104.00298): its variants as rows of data, compound scaling, the
// names and shapes of its parameters, reading and writing weights, and the model that runs on a Vulkan device.
//
// It knows nothing of image files and of training schedules, which are package train's. Imports point one way:
// vk <- shaders <- kernels <- layers <- effnetv2 <- train <- cmd.
package effnetv2
