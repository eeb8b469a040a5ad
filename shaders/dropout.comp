#version 450
#extension GL_GOOGLE_include_directive : require
// Inverted dropout: y = x*mask/(1-p)*scale, mask = 1 where U >= p, p = step.dropout. The mask of an element depends on
// (seed, step, stream, its index) alone, so the same call on a gradient is the backward pass. Overwrites y.
// x, y [count] with count a multiple of 4. One invocation: 4 elements. CPU twin: tests/ref/dropout.go.
#include "philox.glsl"
#include "step.glsl"
layout(local_size_x = 64) in;
layout(push_constant) uniform Params {
    uint count4; // elements / 4
    uint stream;
    float scale;
} p;
layout(std430, set = 0, binding = 0) readonly buffer XBuf { vec4 x[]; };
layout(std430, set = 0, binding = 1) readonly buffer StepBuf { StepScalars step; };
layout(std430, set = 0, binding = 2) writeonly buffer YBuf { vec4 y[]; };

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i >= p.count4) return;
    float rate = step.dropout;
    vec4 u = uniform01(philox(uvec2(step.seedLo, step.seedHi), uvec4(step.step, p.stream, i, 0)));
    // The division comes last and once, so that a rate of 0 leaves x*scale as it is.
    y[i] = mix(vec4(0.0), x[i] * p.scale / (1.0 - rate), greaterThanEqual(u, vec4(rate)));
}
