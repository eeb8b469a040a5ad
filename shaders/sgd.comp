#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// Stochastic gradient descent in PyTorch's form with momentum, weight decay, clipping and the weights' moving average:
//   g    = g*norm.y (+ weightDecay*w in the first 4*decay4 elements): clipped, and without the loss scale
//   mom  = momentum*mom + g
//   w   -= lr*(NESTEROV ? g + momentum*mom : mom)
//   ema += (1 - emaDecay)*(w - ema)
// All are updated in place; nothing changes if norm's not-finite flag is set. Source: torch.optim.SGD with dampening 0 and
// momentum that starts at 0. CPU twin: tests/ref/optim.go.
#include "step.glsl"
#include "flat.glsl"
layout(constant_id = 3) const bool NESTEROV = true;
layout(std430, set = 0, binding = 0) buffer WBuf { vec4 w[]; };
layout(std430, set = 0, binding = 1) readonly buffer GBuf { vec4 g[]; };
layout(std430, set = 0, binding = 2) buffer MomBuf { vec4 mom[]; };
layout(std430, set = 0, binding = 3) buffer EmaBuf { vec4 ema[]; };
layout(std430, set = 0, binding = 4) readonly buffer NormBuf { vec4 norm[]; };
layout(std430, set = 0, binding = 5) readonly buffer StepBuf { StepScalars step; };

float clip, decay, momentum, lr, average;
bool skip;

void element(uint i) {
    vec4 w0 = w[i], v0 = mom[i], e0 = ema[i];
    vec4 x = w0;
    vec4 d = g[i] * clip;
    d += (i < p.decay4 ? decay : 0.0) * x;
    vec4 v = momentum * v0 + d;
    x -= lr * (NESTEROV ? d + momentum * v : v);
    w[i] = skip ? w0 : x;
    mom[i] = skip ? v0 : v;
    ema[i] = skip ? e0 : e0 + average * (x - e0);
}

void main() {
    clip = norm[0].y;
    decay = step.weightDecay;
    momentum = step.momentum;
    lr = step.lr;
    average = 1.0 - step.emaDecay;
    skip = norm[0].z != 0.0;
    eachElement();
}
