// Batch norm, backward: adds partial sums and prepares the rows that readers of the gradient need.
// sums [parts][2][C] (S = sum dz, T = sum dz*yhat) -> dGamma = T, dBeta = S [C], and rows 4 and 5 of bn [6][C]:
//   b = -scale*rstd*T/M, c = -scale*S/M, so that dy = scale*dz + b*(y - mean) + c.
// Overwrites all three. Requires C % 4 == 0. One workgroup: 4*LX channels; LY invocations share the parts of 4 channels.
// Shared: 32*LX*LY bytes.
// CPU twin: tests/ref/bn.go.
#version 450

layout(local_size_x_id = 0, local_size_y_id = 1) in;
const uint LX = gl_WorkGroupSize.x;
const uint LY = gl_WorkGroupSize.y;

layout(std430, set = 0, binding = 0) readonly buffer SumsBuf { vec4 sums[]; };
layout(std430, set = 0, binding = 1) buffer BNBuf { vec4 bn[]; };
layout(std430, set = 0, binding = 2) writeonly buffer DGammaBuf { vec4 dGamma[]; };
layout(std430, set = 0, binding = 3) writeonly buffer DBetaBuf { vec4 dBeta[]; };

layout(push_constant) uniform Params {
    uint C4; // C / 4
    uint parts;
    float m; // N*H*W
} p;

shared vec4 sharedS[LX * LY];
shared vec4 sharedT[LX * LY];

void main() {
    uint c = gl_GlobalInvocationID.x;
    uint ly = gl_LocalInvocationID.y;
    uint at = ly * LX + gl_LocalInvocationID.x;

    vec4 s = vec4(0.0), t = vec4(0.0);
    if (c < p.C4) {
        for (uint part = ly; part < p.parts; part += LY) {
            s += sums[2 * part * p.C4 + c];
            t += sums[(2 * part + 1) * p.C4 + c];
        }
    }
    if (LY > 1) {
        sharedS[at] = s;
        sharedT[at] = t;
        barrier();
        for (uint i = at + LX; i < LX * LY && ly == 0; i += LX) {
            s += sharedS[i];
            t += sharedT[i];
        }
    }
    if (ly == 0 && c < p.C4) {
        vec4 factor = bn[p.C4 + c] / p.m;
        bn[4 * p.C4 + c] = -factor * bn[3 * p.C4 + c] * t;
        bn[5 * p.C4 + c] = -factor * s;
        dGamma[c] = t;
        dBeta[c] = s;
    }
}
