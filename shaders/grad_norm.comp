#version 450
#extension GL_EXT_control_flow_attributes : require
// First stage of the gradient norm: partial[first + workgroup] = sum of g^2 over this workgroup's elements; each
// invocation adds with Kahan's compensation. g [4*count4]; overwrites partial. One workgroup: LANES*EACH vec4.
// With ALONE every invocation writes its own sum, partial[(first + workgroup)*LANES + lane]: on a CPU driver a barrier costs
// more than reading them. Without TAIL all workgroups are full. Requires EACH % 8 == 0, LANES a power of two.
// Shared: LANES floats. CPU twin: tests/ref/optim.go.
layout(local_size_x = 64, local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;
layout(constant_id = 1) const uint EACH = 64;
layout(constant_id = 2) const bool TAIL = true;
layout(constant_id = 3) const bool ALONE = false;
layout(push_constant) uniform Params { uint count4, first; } p;
layout(std430, set = 0, binding = 0) readonly buffer GBuf { vec4 g[]; };
layout(std430, set = 0, binding = 1) writeonly buffer PartialBuf { float partial[]; };

shared float part[LANES];

void main() {
    uint lane = gl_LocalInvocationID.x;
    uint at = gl_WorkGroupID.x * LANES * EACH + lane;
    precise vec4 sum = vec4(0.0), rest = vec4(0.0);
    [[dont_unroll]] for (uint i0 = 0; i0 < EACH; i0 += 8) {
        [[unroll]] for (uint i = 0; i < 8; i++) {
            uint j = at + (i0 + i) * LANES;
            if (!TAIL || j < p.count4) {
                precise vec4 y = g[j] * g[j] - rest;
                precise vec4 t = sum + y;
                rest = (t - sum) - y;
                sum = t;
            }
        }
    }
    float total = (sum.x + sum.y) + (sum.z + sum.w);
    if (ALONE) {
        partial[(p.first + gl_WorkGroupID.x) * LANES + lane] = total;
    } else {
        part[lane] = total;
        barrier();
        for (uint span = LANES / 2; span > 0; span /= 2) {
            if (lane < span) part[lane] += part[lane + span];
            barrier();
        }
        if (lane == 0) partial[p.first + gl_WorkGroupID.x] = part[0];
    }
}
