#version 450
#extension GL_GOOGLE_include_directive : require
// Soft targets from labels: weight*((1-eps)*(lambda*[j=a] + (1-lambda)*[j=b]) + eps/classes), eps = step.smoothing;
// 0 from column `classes` on. Overwrites targets [N][ld]. One invocation: one target. CPU twin: tests/ref/loss.go.
#include "step.glsl"
layout(local_size_x = 64) in;
layout(push_constant) uniform Params { uint N, classes, ld; } p;
struct Label { uint a, b; float lambda, weight; };
layout(std430, set = 0, binding = 0) readonly buffer LabelsBuf { Label labels[]; };
layout(std430, set = 0, binding = 1) readonly buffer StepBuf { StepScalars step; };
layout(std430, set = 0, binding = 2) writeonly buffer TargetsBuf { float targets[]; };

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i >= p.N * p.ld) return;
    uint n = i / p.ld, j = i - n * p.ld;
    Label l = labels[n];
    float hard = (j == l.a ? l.lambda : 0.0) + (j == l.b ? 1.0 - l.lambda : 0.0);
    float t = (1.0 - step.smoothing) * hard + step.smoothing / float(p.classes);
    targets[i] = j < p.classes ? l.weight * t : 0.0;
}
