#version 450
#extension GL_GOOGLE_include_directive : require
// Softmax cross-entropy with soft targets t, fused with its gradient. With m = max z and s = sum exp(z - m):
//   loss = sum t*(m - z) + sum t * log s
//   dz   = (exp(z - m)/s * sum t - t) * lossScale.factor/N
// top-1 and top-5 compare the rank of the largest target's logit (of equal targets the first): the number of logits that
// are greater, or equal with a smaller index. An image without target mass (weight 0) has loss 0 and no hits.
// Padded columns, from `classes` on, are ignored and get gradient 0. Overwrites out [N]{loss, top-1, top-5, 0} and, with
// GRAD, dlogits [N][ld]. logits, targets [N][ld]. One workgroup: one image. Shared: 2 KiB. CPU twin: tests/ref/loss.go.
#include "loss_scale.glsl"
layout(constant_id = 0) const bool GRAD = true;
const uint LANES = 64;
layout(local_size_x = 64) in;
layout(push_constant) uniform Params { uint N, classes, ld; } p;
layout(std430, set = 0, binding = 0) readonly buffer LogitsBuf { float logits[]; };
layout(std430, set = 0, binding = 1) readonly buffer TargetsBuf { float targets[]; };
layout(std430, set = 0, binding = 2) readonly buffer LossScaleBuf { LossScale lossScale; };
layout(std430, set = 0, binding = 3) writeonly buffer DlogitsBuf { float dlogits[]; };
layout(std430, set = 0, binding = 4) writeonly buffer ResultBuf { vec4 result[]; };

shared vec4 part[LANES];
shared uint best[LANES];

void main() {
    uint n = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    bool inside = n < p.N;
    uint row = (inside ? n : 0) * p.ld, lane = gl_LocalInvocationID.x;

    // Largest logit; largest target and its column.
    float m = uintBitsToFloat(0xFF800000u), tBest = -1.0;
    uint jBest = 0;
    for (uint j = lane; j < p.classes; j += LANES) {
        m = max(m, logits[row + j]);
        float t = targets[row + j];
        if (t > tBest) { tBest = t; jBest = j; }
    }
    part[lane] = vec4(m, tBest, 0.0, 0.0);
    best[lane] = jBest;
    barrier();
    for (uint span = LANES / 2; span > 0; span /= 2) {
        if (lane < span) {
            vec4 a = part[lane], b = part[lane + span];
            bool second = b.y > a.y || (b.y == a.y && best[lane + span] < best[lane]);
            if (second) best[lane] = best[lane + span];
            part[lane] = vec4(max(a.x, b.x), second ? b.y : a.y, 0.0, 0.0);
        }
        barrier();
    }
    m = part[0].x;
    jBest = best[0];
    float zBest = logits[row + jBest];
    barrier();

    // sum exp(z - m), sum t, sum t*(m - z), rank.
    vec4 sum = vec4(0.0);
    for (uint j = lane; j < p.classes; j += LANES) {
        float z = logits[row + j], t = targets[row + j];
        bool ahead = z > zBest || (z == zBest && j < jBest);
        sum += vec4(exp(z - m), t, t * (m - z), ahead ? 1.0 : 0.0);
    }
    part[lane] = sum;
    barrier();
    for (uint span = LANES / 2; span > 0; span /= 2) {
        if (lane < span) part[lane] += part[lane + span];
        barrier();
    }
    sum = part[0];
    if (!inside) return;
    if (lane == 0) {
        bool counts = sum.y > 0.0;
        result[n] = vec4(sum.z + sum.y * log(sum.x), counts && sum.w < 1.0 ? 1.0 : 0.0, counts && sum.w < 5.0 ? 1.0 : 0.0, 0.0);
    }
    if (!GRAD) return;
    float scale = lossScale.factor / float(p.N);
    for (uint j = lane; j < p.ld; j += LANES) {
        float d = 0.0;
        if (j < p.classes) d = (exp(logits[row + j] - m) / sum.x * sum.y - targets[row + j]) * scale;
        dlogits[row + j] = d;
    }
}
