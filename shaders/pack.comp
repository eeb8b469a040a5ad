#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// Weights for the forward pass, once per step or once per model.
// Dense: wt[rsc][k] = w[k][rsc], count = K*RSC. DEPTHWISE: wt = w, [RS][C], K = C. With FOLD a batch norm goes into them:
// times f[k] = gamma[k]/sqrt(var[k] + eps), and bias[k] = beta[k] - mean[k]*f[k]. Overwrites wt and bias.
// One invocation: one k and EACH neighbouring rsc; those of rsc = 0 also write bias. Without TAIL LOCAL divides K and EACH
// divides RSC. CPU twin: tests/ref/pack.go.
#include "elem.glsl"
layout(local_size_x = 64, local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL = 64;
layout(constant_id = 1) const bool DEPTHWISE = false;
layout(constant_id = 2) const bool FOLD = false;
layout(constant_id = 3) const uint EACH = 4;
layout(constant_id = 4) const bool TAIL = true;
layout(push_constant) uniform Params {
    uint K, RSC; // DEPTHWISE: K = C, RSC = RS
    float eps;
} p;
layout(std430, set = 0, binding = 0) readonly buffer WBuf { float w[]; };
layout(std430, set = 0, binding = 1) writeonly buffer WtBuf { E1 wt[]; };
layout(std430, set = 0, binding = 2) readonly buffer GammaBuf { float gamma[]; };
layout(std430, set = 0, binding = 3) readonly buffer BetaBuf { float beta[]; };
layout(std430, set = 0, binding = 4) readonly buffer MeanBuf { float mean[]; };
layout(std430, set = 0, binding = 5) readonly buffer VarBuf { float var[]; };
layout(std430, set = 0, binding = 6) writeonly buffer BiasBuf { float bias[]; };

void main() {
    uint k = gl_WorkGroupID.x * LOCAL + gl_LocalInvocationID.x;
    uint first = gl_WorkGroupID.y * EACH;
    uint kk = TAIL ? min(k, p.K - 1) : k; // clamped for loads
    float f = FOLD ? gamma[kk] / sqrt(var[kk] + p.eps) : 1.0;
    [[unroll]] for (uint e = 0; e < EACH; e++) {
        uint rsc = first + e, i = rsc * p.K + k;
        if (!TAIL || k < p.K && rsc < p.RSC) wt[i] = store1(w[DEPTHWISE ? i : k * p.RSC + rsc] * f);
    }
    if (FOLD && first == 0 && k < p.K) bias[k] = beta[k] - mean[k] * f;
}
