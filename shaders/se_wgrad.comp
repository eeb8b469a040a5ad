// Gradients of squeeze-and-excite's weights, summed over the images in their order.
//   dw1[r,c] = sum over n of dHidden[n,r]*pool[n,c], db1[r] = sum over n of dHidden[n,r]
//   dw2[c,r] = sum over n of dPre[n,c]*act[n,r],     db2[c] = sum over n of dPre[n,c]
// pool, dPre [N][C], act, dHidden [N][R] -> dw1 [R][C], db1 [R], dw2 [C][R], db2 [C]; overwrites all four.
// Requires C % 4 == 0. One invocation: 4 channels of one hidden unit, in both layers.
// CPU twin: tests/ref/se.go.
#version 450

layout(local_size_x_id = 0) in;

layout(std430, set = 0, binding = 0) readonly buffer PoolBuf { vec4 pool[]; };
layout(std430, set = 0, binding = 1) readonly buffer DPreBuf { vec4 dPre[]; };
layout(std430, set = 0, binding = 2) readonly buffer DHiddenBuf { float dHidden[]; };
layout(std430, set = 0, binding = 3) readonly buffer ActBuf { float act[]; };
layout(std430, set = 0, binding = 4) writeonly buffer DW1Buf { vec4 dw1[]; };
layout(std430, set = 0, binding = 5) writeonly buffer DB1Buf { float db1[]; };
layout(std430, set = 0, binding = 6) writeonly buffer DW2Buf { float dw2[]; };
layout(std430, set = 0, binding = 7) writeonly buffer DB2Buf { vec4 db2[]; };

layout(push_constant) uniform Params {
    uint C4; // C / 4
    uint R;
    uint N;
} p;

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i >= p.C4 * p.R) return;
    uint c = i % p.C4;
    uint r = i / p.C4;
    vec4 sum1 = vec4(0.0), sum2 = vec4(0.0), bias2 = vec4(0.0);
    float bias1 = 0.0;
    for (uint n = 0; n < p.N; n++) {
        float h = dHidden[n * p.R + r];
        vec4 d = dPre[n * p.C4 + c];
        sum1 += h * pool[n * p.C4 + c];
        sum2 += d * act[n * p.R + r];
        bias1 += h;
        bias2 += d;
    }
    dw1[i] = sum1;
    for (uint k = 0; k < 4; k++) dw2[(4 * c + k) * p.R + r] = sum2[k];
    if (c == 0) db1[r] = bias1;
    if (r == 0) db2[c] = bias2;
}
