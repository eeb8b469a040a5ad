// Second stage of a depthwise convolution's wgrad: adds the splits in their order.
// part [splits][count] -> dw [count]; overwrites dw. count % 4 == 0. One invocation: 4 elements.
// CPU twin: tests/ref/depthwise.go.
#version 450

layout(local_size_x_id = 0) in;

layout(std430, set = 0, binding = 0) readonly buffer PartBuf { vec4 part[]; };
layout(std430, set = 0, binding = 1) writeonly buffer DwBuf { vec4 dw[]; };

layout(push_constant) uniform Params {
    uint count4; // count / 4
    uint splits;
} p;

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i >= p.count4) return;
    vec4 sum = vec4(0.0);
    for (uint s = 0; s < p.splits; s++) sum += part[s * p.count4 + i];
    dw[i] = sum;
}
