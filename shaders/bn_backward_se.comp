// Batch norm, backward, of a tensor with a squeeze-and-excite gate (or, with NOG, one that is only pooled).
//   S = sum over n of gate*s1 + e*s2, T = sum over n of gate*s3 + e*s4; the gate terms are absent with NOG
// s [N][3][C] (s0, s1, s3), gate, e [N][C], pool [3][N][C] (mean, s2, s4) -> dGamma = T, dBeta = S [C], and rows 4 and 5 of
// bn [6][C]: b = -scale*rstd*T/M, c = -scale*S/M. Overwrites all three.
// Requires C % 4 == 0. One workgroup: 4*LX channels; LY invocations share the images of 4 channels. Shared: 32*LX*LY bytes.
// CPU twin: tests/ref/bn.go.
#version 450

layout(local_size_x_id = 0, local_size_y_id = 1) in;
const uint LX = gl_WorkGroupSize.x;
const uint LY = gl_WorkGroupSize.y;
layout(constant_id = 2) const bool NOG = false;

layout(std430, set = 0, binding = 0) readonly buffer SBuf { vec4 s[]; };
layout(std430, set = 0, binding = 1) readonly buffer GateBuf { vec4 gate[]; };
layout(std430, set = 0, binding = 2) readonly buffer EBuf { vec4 e[]; };
layout(std430, set = 0, binding = 3) readonly buffer PoolBuf { vec4 pool[]; };
layout(std430, set = 0, binding = 4) buffer BNBuf { vec4 bn[]; };
layout(std430, set = 0, binding = 5) writeonly buffer DGammaBuf { vec4 dGamma[]; };
layout(std430, set = 0, binding = 6) writeonly buffer DBetaBuf { vec4 dBeta[]; };

layout(push_constant) uniform Params {
    uint C4; // C / 4
    uint N;
    float m; // N*H*W
} p;

shared vec4 sharedS[LX * LY];
shared vec4 sharedT[LX * LY];

void main() {
    uint c = gl_GlobalInvocationID.x;
    uint ly = gl_LocalInvocationID.y;
    uint at = ly * LX + gl_LocalInvocationID.x;

    vec4 sumS = vec4(0.0), sumT = vec4(0.0);
    if (c < p.C4) {
        for (uint n = ly; n < p.N; n += LY) {
            vec4 en = e[n * p.C4 + c];
            sumS += en * pool[(p.N + n) * p.C4 + c];
            sumT += en * pool[(2 * p.N + n) * p.C4 + c];
            if (!NOG) {
                vec4 g = gate[n * p.C4 + c];
                sumS += g * s[(3 * n + 1) * p.C4 + c];
                sumT += g * s[(3 * n + 2) * p.C4 + c];
            }
        }
    }
    if (LY > 1) {
        sharedS[at] = sumS;
        sharedT[at] = sumT;
        barrier();
        for (uint i = at + LX; i < LX * LY && ly == 0; i += LX) {
            sumS += sharedS[i];
            sumT += sharedT[i];
        }
    }
    if (ly == 0 && c < p.C4) {
        vec4 factor = bn[p.C4 + c] / p.m;
        bn[4 * p.C4 + c] = -factor * bn[3 * p.C4 + c] * sumT;
        bn[5 * p.C4 + c] = -factor * sumS;
        dGamma[c] = sumT;
        dBeta[c] = sumS;
    }
}
