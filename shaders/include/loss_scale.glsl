// The loss scale: a buffer that lives as long as the optimizer's slots. Go twin: kernels.LossScale.
// The including shader declares the binding: layout(std430, set=0, binding=B) buffer LossScaleBuf { LossScale lossScale; };
struct LossScale {
    float factor;   // the loss is multiplied by it, and so is every gradient
    uint good;      // steps with finite gradients since the factor last changed
    uint skipped;   // steps without, in all
    uint interval;  // good steps after which the factor doubles; 0: it never changes
};
