#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// RMSProp in TensorFlow's form with momentum, weight decay, clipping and the weights' moving average, in one pass:
//   g    = g*norm.y (+ weightDecay*w in the first 4*decay4 elements): clipped, and without the loss scale
//   ms  += (1 - rho)*(g^2 - ms)
//   mom  = momentum*mom + lr*g/sqrt(ms + eps)
//   w   -= mom
//   ema += (1 - emaDecay)*(w - ema)
// All are updated in place; nothing changes if norm's not-finite flag is set. Source: tf.raw_ops.ApplyRMSProp; the
// published recipe's numbers are in google/automl efficientnetv2/hparams.py. CPU twin: tests/ref/optim.go.
#include "step.glsl"
#include "flat.glsl"
layout(std430, set = 0, binding = 0) buffer WBuf { vec4 w[]; };
layout(std430, set = 0, binding = 1) readonly buffer GBuf { vec4 g[]; };
layout(std430, set = 0, binding = 2) buffer MsBuf { vec4 ms[]; };
layout(std430, set = 0, binding = 3) buffer MomBuf { vec4 mom[]; };
layout(std430, set = 0, binding = 4) buffer EmaBuf { vec4 ema[]; };
layout(std430, set = 0, binding = 5) readonly buffer NormBuf { vec4 norm[]; };
layout(std430, set = 0, binding = 6) readonly buffer StepBuf { StepScalars step; };

float clip, decay, rho1, eps, momentum, lr, average;
bool skip;

void element(uint i) {
    vec4 w0 = w[i], s0 = ms[i], v0 = mom[i], e0 = ema[i];
    vec4 x = w0;
    vec4 d = g[i] * clip;
    d += (i < p.decay4 ? decay : 0.0) * x;
    vec4 s = s0 + rho1 * (d * d - s0);
    vec4 v = momentum * v0 + lr * d / sqrt(s + eps);
    x -= v;
    w[i] = skip ? w0 : x;
    ms[i] = skip ? s0 : s;
    mom[i] = skip ? v0 : v;
    ema[i] = skip ? e0 : e0 + average * (x - e0);
}

void main() {
    clip = norm[0].y;
    decay = step.weightDecay;
    rho1 = 1.0 - step.rho;
    eps = step.eps;
    momentum = step.momentum;
    lr = step.lr;
    average = 1.0 - step.emaDecay;
    skip = norm[0].z != 0.0;
    eachElement();
}
