// Squeeze-and-excite, forward: both fully connected layers and their activations, per image.
// pool [N][C], w1 [R][C], b1 [R], w2 [C][R], b2 [C] -> hidden [N][R], gate [N][C]; overwrites both.
//   hidden = pool w1' + b1 (raw), gate = sigmoid(silu(hidden) w2' + b2)
// Requires C % 4 == 0, LX % LANES == 0. One workgroup: an image. Hidden units: LANES invocations share one. Gates: one
// invocation has 4 channels. Shared: 4*(LX + R) bytes.
// CPU twin: tests/ref/se.go.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "act.glsl"

layout(local_size_x_id = 0) in;
const uint LX = gl_WorkGroupSize.x;
layout(constant_id = 1) const uint LANES = 8;
layout(constant_id = 2) const uint R = 1;

layout(std430, set = 0, binding = 0) readonly buffer PoolBuf { vec4 pool[]; };
layout(std430, set = 0, binding = 1) readonly buffer W1Buf { vec4 w1[]; };
layout(std430, set = 0, binding = 2) readonly buffer B1Buf { float b1[]; };
layout(std430, set = 0, binding = 3) readonly buffer W2Buf { float w2[]; };
layout(std430, set = 0, binding = 4) readonly buffer B2Buf { vec4 b2[]; };
layout(std430, set = 0, binding = 5) writeonly buffer HiddenBuf { float hidden[]; };
layout(std430, set = 0, binding = 6) writeonly buffer GateBuf { vec4 gate[]; };

layout(push_constant) uniform Params {
    uint C4; // C / 4
} p;

shared float part[LX];
shared float act[R];

void main() {
    uint id = gl_LocalInvocationID.x;
    uint n = gl_WorkGroupID.x;

    for (uint r0 = 0; r0 < R; r0 += LX / LANES) {
        uint r = r0 + id / LANES;
        float sum = 0.0;
        if (r < R) {
            for (uint c = id % LANES; c < p.C4; c += LANES) sum += dot(pool[n * p.C4 + c], w1[r * p.C4 + c]);
        }
        if (LANES > 1) {
            part[id] = sum;
            barrier();
        }
        if (id % LANES == 0 && r < R) {
            for (uint i = 1; i < LANES; i++) sum += part[id + i];
            sum += b1[r];
            hidden[n * R + r] = sum;
            act[r] = actValue(ACT_SILU, sum);
        }
        barrier();
    }

    for (uint c = id; c < p.C4; c += LX) {
        vec4 sum = b2[c];
        uint row = 4 * c * R;
        for (uint r = 0; r < R; r++) sum += act[r] * vec4(w2[row + r], w2[row + R + r], w2[row + 2 * R + r], w2[row + 3 * R + r]);
        gate[n * p.C4 + c] = sigmoid(sum);
    }
}
