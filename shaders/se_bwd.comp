// Squeeze-and-excite, backward, per image: the gradients that pass through the two fully connected layers.
// sums [N][parts][3][C] (s0 = sum q*u, s1, s3), gate [N][C], hidden [N][R], w1 [R][C], w2 [C][R] ->
//   s [N][3][C] = sums added over parts
//   dPre [N][C] = s0*gate*(1 - gate), the gradient of the sigmoid's argument
//   dHidden [N][R] = (dPre w2)*silu'(hidden), act [N][R] = silu(hidden)
//   e [N][C] = (dHidden w1) / HW
// Overwrites all five. se_wgrad makes the weights' gradients from dPre, act, dHidden and pool.
// Requires C % 4 == 0, LX % RL == 0. One workgroup: an image. Hidden units: RL of them at a time, LX/RL invocations share
// one. Shared: 4*(LX + R) bytes.
// CPU twin: tests/ref/se.go.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "act.glsl"

layout(local_size_x_id = 0) in;
const uint LX = gl_WorkGroupSize.x;
layout(constant_id = 1) const uint RL = 8;
layout(constant_id = 2) const uint R = 1;

layout(std430, set = 0, binding = 0) readonly buffer SumsBuf { vec4 sums[]; };
layout(std430, set = 0, binding = 1) readonly buffer GateBuf { vec4 gate[]; };
layout(std430, set = 0, binding = 2) readonly buffer HiddenBuf { float hidden[]; };
layout(std430, set = 0, binding = 3) readonly buffer W1Buf { vec4 w1[]; };
layout(std430, set = 0, binding = 4) readonly buffer W2Buf { float w2[]; };
layout(std430, set = 0, binding = 5) writeonly buffer SBuf { vec4 s[]; };
layout(std430, set = 0, binding = 6) writeonly buffer EBuf { vec4 e[]; };
layout(std430, set = 0, binding = 7) coherent buffer DPreBuf { vec4 dPre[]; };
layout(std430, set = 0, binding = 8) writeonly buffer DHiddenBuf { float dHidden[]; };
layout(std430, set = 0, binding = 9) writeonly buffer ActBuf { float act[]; };

layout(push_constant) uniform Params {
    uint C4; // C / 4
    uint HW;
    uint parts;
    uint image0; // image that sums begin with
} p;

shared float part[LX];
shared float dh[R];

void main() {
    uint id = gl_LocalInvocationID.x;
    uint row = gl_WorkGroupID.x;
    uint n = row + p.image0;

    for (uint c = id; c < p.C4; c += LX) {
        vec4 s0 = vec4(0.0), s1 = vec4(0.0), s3 = vec4(0.0);
        for (uint i = 0; i < p.parts; i++) {
            uint at = (row * p.parts + i) * 3 * p.C4 + c;
            s0 += sums[at];
            s1 += sums[at + p.C4];
            s3 += sums[at + 2 * p.C4];
        }
        uint at = 3 * n * p.C4 + c;
        s[at] = s0;
        s[at + p.C4] = s1;
        s[at + 2 * p.C4] = s3;
        vec4 g = gate[n * p.C4 + c];
        dPre[n * p.C4 + c] = s0 * g * (1.0 - g);
    }
    memoryBarrierBuffer();
    barrier();

    for (uint r0 = 0; r0 < R; r0 += RL) {
        uint r = r0 + id % RL;
        float sum = 0.0;
        if (r < R) {
            for (uint c = id / RL; c < p.C4; c += LX / RL) {
                uint at = 4 * c * R + r;
                sum += dot(dPre[n * p.C4 + c], vec4(w2[at], w2[at + R], w2[at + 2 * R], w2[at + 3 * R]));
            }
        }
        part[id] = sum;
        barrier();
        if (id < RL && r < R) {
            for (uint i = id + RL; i < LX; i += RL) sum += part[i];
            float u, d;
            actBoth(ACT_SILU, hidden[n * R + r], u, d);
            sum *= d;
            dHidden[n * R + r] = sum;
            act[n * R + r] = u;
            dh[r] = sum;
        }
        barrier();
    }

    for (uint c = id; c < p.C4; c += LX) {
        vec4 sum = vec4(0.0);
        for (uint r = 0; r < R; r++) sum += dh[r] * w1[r * p.C4 + c];
        e[n * p.C4 + c] = sum / float(p.HW);
    }
}
