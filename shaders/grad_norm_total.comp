#version 450
#extension GL_GOOGLE_include_directive : require
// Second stage of the gradient norm: norm = {sqrt(sum)/lossScale, clip factor, 1 if the sum is not finite, 0} with clip
// factor min(1, clipNorm/norm), 1 if clipNorm is 0. Overwrites norm [4]. One workgroup. Shared: 256 bytes.
// CPU twin: tests/ref/optim.go.
#include "step.glsl"
const uint LANES = 64;
layout(local_size_x = 64) in;
layout(push_constant) uniform Params { uint parts; } p;
layout(std430, set = 0, binding = 0) readonly buffer PartialBuf { float partial[]; };
layout(std430, set = 0, binding = 1) readonly buffer StepBuf { StepScalars step; };
layout(std430, set = 0, binding = 2) writeonly buffer NormBuf { vec4 norm[]; };

shared float part[LANES];

void main() {
    uint lane = gl_LocalInvocationID.x;
    float sum = 0.0;
    for (uint i = lane; i < p.parts; i += LANES) sum += partial[i];
    part[lane] = sum;
    barrier();
    for (uint span = LANES / 2; span > 0; span /= 2) {
        if (lane < span) part[lane] += part[lane + span];
        barrier();
    }
    if (lane == 0) {
        float total = sqrt(part[0]) / step.lossScale;
        bool bad = isnan(total) || isinf(total);
        float clip = step.clipNorm > 0.0 && total > step.clipNorm ? step.clipNorm / total : 1.0;
        norm[0] = vec4(total, clip, bad ? 1.0 : 0.0, 0.0);
    }
}
