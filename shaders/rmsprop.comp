#version 450
#extension GL_GOOGLE_include_directive : require
// RMSProp in TensorFlow's form with momentum, weight decay, clipping and the weights' moving average, in one pass:
//   g    = g*clip/lossScale (+ weightDecay*w if DECAY)
//   ms  += (1 - rho)*(g^2 - ms)
//   mom  = momentum*mom + lr*g/sqrt(ms + eps)
//   w   -= mom
//   ema += (1 - emaDecay)*(w - ema)
// All are updated in place; nothing changes if norm's not-finite flag is set. Source: tf.raw_ops.ApplyRMSProp; the
// published recipe's numbers are in google/automl efficientnetv2/hparams.py. CPU twin: tests/ref/optim.go.
#include "step.glsl"
#include "flat.glsl"
layout(constant_id = 0) const bool DECAY = false;
layout(std430, set = 0, binding = 0) buffer WBuf { float w[]; };
layout(std430, set = 0, binding = 1) readonly buffer GBuf { float g[]; };
layout(std430, set = 0, binding = 2) buffer MsBuf { float ms[]; };
layout(std430, set = 0, binding = 3) buffer MomBuf { float mom[]; };
layout(std430, set = 0, binding = 4) buffer EmaBuf { float ema[]; };
layout(std430, set = 0, binding = 5) readonly buffer NormBuf { vec4 norm[]; };
layout(std430, set = 0, binding = 6) readonly buffer StepBuf { StepScalars step; };

void element(uint i) {
    float x = w[i];
    float d = g[i] * (norm[0].y / step.lossScale);
    if (DECAY) d += step.weightDecay * x;
    float s = ms[i];
    s += (1.0 - step.rho) * (d * d - s);
    float v = step.momentum * mom[i] + step.lr * d / sqrt(s + step.eps);
    x -= v;
    float e = ema[i];
    w[i] = x;
    ms[i] = s;
    mom[i] = v;
    ema[i] = e + (1.0 - step.emaDecay) * (x - e);
}

void main() {
    if (norm[0].z == 0.0) eachElement();
}
