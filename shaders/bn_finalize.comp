// Batch norm, forward: merges partial statistics and prepares the rows that readers of the tensor need.
// stats [parts][2][C] (mean, M2) then [parts] counts, gamma, beta [C] -> rows 0 to 3 of bn [6][C]: mean, scale, beta, rstd;
// runMean, runVar [C] are updated in place: running = (1 - momentum)*running + momentum*batch, the variance unbiased; a
// channel whose batch overflowed keeps its own.
// Partial means and M2 are combined pairwise (Chan, Golub, LeVeque 1979), which does not cancel, in a fixed order.
// Requires C % 4 == 0. One workgroup: 4*LX channels; LY invocations share the parts of 4 channels. Shared: 36*LX*LY bytes.
// CPU twin: tests/ref/bn.go.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "stats.glsl"

layout(local_size_x_id = 0, local_size_y_id = 1) in;
const uint LX = gl_WorkGroupSize.x;
const uint LY = gl_WorkGroupSize.y;

layout(std430, set = 0, binding = 0) readonly buffer StatsBuf { vec4 stats[]; };
layout(std430, set = 0, binding = 1) readonly buffer GammaBuf { vec4 gamma[]; };
layout(std430, set = 0, binding = 2) readonly buffer BetaBuf { vec4 beta[]; };
layout(std430, set = 0, binding = 3) buffer RunMeanBuf { vec4 runMean[]; };
layout(std430, set = 0, binding = 4) buffer RunVarBuf { vec4 runVar[]; };
layout(std430, set = 0, binding = 5) writeonly buffer BNBuf { vec4 bn[]; };

layout(push_constant) uniform Params {
    uint C4; // C / 4
    uint parts;
    float m; // rows of all parts
    float eps;
    float momentum;
} p;

shared vec4 sharedMean[LX * LY];
shared vec4 sharedM2[LX * LY];
shared float sharedCount[LX * LY];

void main() {
    uint c = gl_GlobalInvocationID.x;
    uint ly = gl_LocalInvocationID.y;
    uint at = ly * LX + gl_LocalInvocationID.x;

    // Means are taken relative to the first part's, or rounding the large mean of a tensor would disturb the variance.
    vec4 shift = vec4(0.0), mean = vec4(0.0), m2 = vec4(0.0);
    float count = 0.0;
    if (c < p.C4) {
        shift = stats[c];
        for (uint part = ly; part < p.parts; part += LY) {
            float n = stats[2 * p.parts * p.C4 + part / 4][part % 4];
            if (n > 0.0) {
                mergeStats(count, mean, m2, n, stats[2 * part * p.C4 + c] - shift, stats[(2 * part + 1) * p.C4 + c]);
                count += n;
            }
        }
    }
    if (LY > 1) {
        sharedMean[at] = mean;
        sharedM2[at] = m2;
        sharedCount[at] = count;
        barrier();
        for (uint i = at + LX; i < LX * LY && ly == 0; i += LX) {
            if (sharedCount[i] > 0.0) {
                mergeStats(count, mean, m2, sharedCount[i], sharedMean[i], sharedM2[i]);
                count += sharedCount[i];
            }
        }
    }
    if (ly == 0 && c < p.C4) {
        mean += shift;
        vec4 variance = m2 / p.m;
        vec4 rstd = 1.0 / sqrt(variance + p.eps);
        bn[c] = mean;
        bn[p.C4 + c] = gamma[c] * rstd;
        bn[2 * p.C4 + c] = beta[c];
        bn[3 * p.C4 + c] = rstd;
        vec4 unbiased = m2 / max(p.m - 1.0, 1.0);
        bvec4 finite = lessThan(abs(mean) + unbiased, vec4(uintBitsToFloat(0x7f800000u)));
        vec4 oldMean = runMean[c], oldVar = runVar[c];
        runMean[c] = mix(oldMean, oldMean + p.momentum * (mean - oldMean), finite);
        runVar[c] = mix(oldVar, oldVar + p.momentum * (unbiased - oldVar), finite);
    }
}
