#version 450
// First stage of the gradient norm: partial[first + workgroup] = sum of g^2 over this workgroup's elements; each
// invocation adds with Kahan's compensation. g [4*count4]; overwrites partial. One workgroup: 16384 elements.
// Shared: 256 bytes. CPU twin: tests/ref/optim.go.
const uint LANES = 64, EACH = 64;
layout(local_size_x = 64) in;
layout(push_constant) uniform Params { uint count4, first; } p;
layout(std430, set = 0, binding = 0) readonly buffer GBuf { vec4 g[]; };
layout(std430, set = 0, binding = 1) writeonly buffer PartialBuf { float partial[]; };

shared float part[LANES];

void main() {
    uint lane = gl_LocalInvocationID.x;
    uint at = gl_WorkGroupID.x * LANES * EACH + lane;
    precise vec4 sum = vec4(0.0), rest = vec4(0.0);
    for (uint i = 0; i < EACH; i++) {
        uint j = at + i * LANES;
        if (j < p.count4) {
            precise vec4 y = g[j] * g[j] - rest;
            precise vec4 t = sum + y;
            rest = (t - sum) - y;
            sum = t;
        }
    }
    part[lane] = (sum.x + sum.y) + (sum.z + sum.w);
    barrier();
    for (uint span = LANES / 2; span > 0; span /= 2) {
        if (lane < span) part[lane] += part[lane + span];
        barrier();
    }
    if (lane == 0) partial[p.first + gl_WorkGroupID.x] = part[0];
}
