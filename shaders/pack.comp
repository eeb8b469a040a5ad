#version 450
#extension GL_GOOGLE_include_directive : require
// Weights for the forward pass, once per step or once per model.
// Dense: wt[rsc][k] = w[k][rsc], count = K*RSC. DEPTHWISE: wt = w, [RS][C], K = C. With FOLD a batch norm goes into them:
// times f[k] = gamma[k]/sqrt(var[k] + eps), and bias[k] = beta[k] - mean[k]*f[k]. Overwrites wt and bias.
// One invocation: one element of wt; invocations of the first K elements also write bias. CPU twin: tests/ref/pack.go.
#include "elem.glsl"
layout(local_size_x = 64, local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL = 64;
layout(constant_id = 1) const bool DEPTHWISE = false;
layout(constant_id = 2) const bool FOLD = false;
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
    uint i = gl_WorkGroupID.y * gl_NumWorkGroups.x * LOCAL + gl_GlobalInvocationID.x;
    if (i >= p.K * p.RSC) return;
    uint rsc = i / p.K, k = i - rsc * p.K;
    float v = w[DEPTHWISE ? i : k * p.RSC + rsc];
    if (FOLD) {
        float f = gamma[k] / sqrt(var[k] + p.eps);
        v *= f;
        if (rsc == 0) bias[k] = beta[k] - mean[k] * f;
    }
    wt[i] = store1(v);
}
