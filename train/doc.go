// Package train trains EfficientNetV2 by the paper's progressive recipe (Tan and Le 2021, arXiv:2104.00298, section 4:
// image size and regularisation grow together, stage by stage) and evaluates and applies what it trained.
//
// [Run] is a whole run from a [Config]; [Evaluate] and [Predictor] use its weights. Data sets, the schedule, the draws of
// augmentation, checkpoints and metrics are host code that needs no device. Pixels are resized, augmented, mixed and
// normalised on the device by the image kernels of package kernels.
//
// The package knows nothing of flags, which are the command's.
package train
