#version 450
#extension GL_GOOGLE_include_directive : require
// Second stage of the gradient norm, and the loss scale of the next step. With the scale's factor f, total = sqrt(sum)/f:
//   norm = {total, min(1, clipNorm/total)/f (1/f if clipNorm is 0), 1 if total is not finite, f}
// Overwrites norm [4]. Then the scale: a total that is not finite counts a skipped step and halves f, to 1 at least; after
// `interval` others in a row f doubles, to 2^24 at most; with interval 0 f stays. One workgroup. Shared: 256 bytes.
// CPU twin: tests/ref/optim.go.
#include "step.glsl"
#include "loss_scale.glsl"
const float SMALLEST = 1.0, LARGEST = 16777216.0;
const uint LANES = 64;
layout(local_size_x = 64) in;
layout(push_constant) uniform Params { uint parts; } p;
layout(std430, set = 0, binding = 0) readonly buffer PartialBuf { float partial[]; };
layout(std430, set = 0, binding = 1) readonly buffer StepBuf { StepScalars step; };
layout(std430, set = 0, binding = 2) buffer LossScaleBuf { LossScale lossScale; };
layout(std430, set = 0, binding = 3) writeonly buffer NormBuf { vec4 norm[]; };

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
        LossScale s = lossScale;
        float total = sqrt(part[0]) / s.factor;
        bool bad = isnan(total) || isinf(total);
        float clip = step.clipNorm > 0.0 && total > step.clipNorm ? step.clipNorm / total : 1.0;
        norm[0] = vec4(total, clip / s.factor, bad ? 1.0 : 0.0, s.factor);
        s.good = bad ? 0 : s.good + 1;
        if (bad) s.skipped++;
        if (s.interval > 0 && bad) {
            s.factor = max(0.5 * s.factor, SMALLEST);
        } else if (s.interval > 0 && s.good >= s.interval) {
            s.factor = min(2.0 * s.factor, LARGEST);
            s.good = 0;
        }
        lossScale = s;
    }
}
