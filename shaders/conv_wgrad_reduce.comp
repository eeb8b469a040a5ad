#version 450
// Second stage of conv_wgrad: dw[i] = sum over splits of partial[split][i], in the order of the splits; overwrites dw.
// partial [splits][count], dw [count], count % 4 == 0. One invocation: 4 elements. CPU twin: tests/ref/conv.go.
layout(local_size_x = 64, local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL = 64;
layout(push_constant) uniform Params {
    uint count4; // count / 4
    uint splits;
} p;
layout(std430, set = 0, binding = 0) readonly buffer PartialBuf { vec4 partial[]; };
layout(std430, set = 0, binding = 1) writeonly buffer DwBuf { vec4 dw[]; };

void main() {
    uint i = gl_WorkGroupID.y * gl_NumWorkGroups.x * LOCAL + gl_GlobalInvocationID.x;
    if (i >= p.count4) return;
    vec4 sum = partial[i];
    for (uint s = 1; s < p.splits; s++) sum += partial[s * p.count4 + i];
    dw[i] = sum;
}
