#version 450
#extension GL_GOOGLE_include_directive : require
// The step's figures for the host: metrics = {mean loss, sum of top-1, sum of top-5, gradient norm, 1 if not finite, the
// loss scale's factor in this step, steps skipped in all, 0}. loss [N]{loss, top-1, top-5, 0}, norm {norm, clip factor,
// not-finite flag, factor}. Overwrites metrics [8]. One workgroup. Shared: 1 KiB. CPU twin: tests/ref/loss.go.
#include "loss_scale.glsl"
const uint LANES = 64;
layout(local_size_x = 64) in;
layout(push_constant) uniform Params { uint N; } p;
layout(std430, set = 0, binding = 0) readonly buffer LossBuf { vec4 loss[]; };
layout(std430, set = 0, binding = 1) readonly buffer NormBuf { vec4 norm[]; };
layout(std430, set = 0, binding = 2) readonly buffer LossScaleBuf { LossScale lossScale; };
layout(std430, set = 0, binding = 3) writeonly buffer MetricsBuf { vec4 metrics[]; };

shared vec4 part[LANES];

void main() {
    uint lane = gl_LocalInvocationID.x;
    vec4 sum = vec4(0.0);
    for (uint n = lane; n < p.N; n += LANES) sum += loss[n];
    part[lane] = sum;
    barrier();
    for (uint span = LANES / 2; span > 0; span /= 2) {
        if (lane < span) part[lane] += part[lane + span];
        barrier();
    }
    if (lane == 0) {
        sum = part[0];
        bool bad = norm[0].z != 0.0 || isnan(sum.x) || isinf(sum.x);
        metrics[0] = vec4(sum.x / float(p.N), sum.y, sum.z, norm[0].x);
        metrics[1] = vec4(bad ? 1.0 : 0.0, norm[0].w, float(lossScale.skipped), 0.0);
    }
}
