#version 450
// Bandwidth ceiling of a device: y = x. A driver's own buffer copy is not always the fastest: CPU drivers copy on one thread.
// x, y [n] vec4; overwrites y. One invocation: vec4s i, i + stride, ... below n, stride = all invocations. Shared: none.

layout(local_size_x = 64, local_size_x_id = 0) in;

layout(push_constant) uniform Params {
    uint n;
    uint stride;
} p;

layout(std430, set = 0, binding = 0) readonly buffer XBuf { vec4 x[]; };
layout(std430, set = 0, binding = 1) writeonly buffer YBuf { vec4 y[]; };

void main() {
    for (uint i = gl_GlobalInvocationID.x; i < p.n; i += p.stride) {
        y[i] = x[i];
    }
}
