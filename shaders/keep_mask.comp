#version 450
#extension GL_GOOGLE_include_directive : require
// Stochastic depth's factors: keep[b][n] = floor(1 - rate + U) / (1 - rate), rate = step.dropPath*b/blocks: block b of an
// image is left out with probability rate, else scaled up (google/automl efficientnetv2/utils.py, drop_connect).
// Overwrites keep [blocks][N]. One invocation: one factor. CPU twin: tests/ref/dropout.go.
#include "philox.glsl"
#include "step.glsl"
layout(local_size_x = 64) in;
layout(push_constant) uniform Params { uint blocks, N, stream; } p;
layout(std430, set = 0, binding = 0) readonly buffer StepBuf { StepScalars step; };
layout(std430, set = 0, binding = 1) writeonly buffer KeepBuf { float keep[]; };

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i >= p.blocks * p.N) return;
    float rate = step.dropPath * float(i / p.N) / float(p.blocks);
    float u = uniform01(philox(uvec2(step.seedLo, step.seedHi), uvec4(step.step, p.stream, i, 0))).x;
    keep[i] = u >= rate ? 1.0 / (1.0 - rate) : 0.0;
}
