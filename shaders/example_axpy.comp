#version 450
// y += a*x over n numbers: the smallest useful shader, for the examples of packages vk and shadertest.
// x [n], y [n] float32; accumulates into y. One invocation: one number. Shared: none.

layout(local_size_x = 64, local_size_x_id = 0) in;

layout(push_constant) uniform Params {
    uint n;
    float a;
} p;

layout(std430, set = 0, binding = 0) readonly buffer XBuf { float x[]; };
layout(std430, set = 0, binding = 1) buffer YBuf { float y[]; };

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i < p.n) {
        y[i] += p.a * x[i];
    }
}
