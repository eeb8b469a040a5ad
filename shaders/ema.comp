#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// Moving average: ema += (1 - emaDecay)*(x - ema), in place; nothing changes if norm's not-finite flag is set.
// CPU twin: tests/ref/optim.go.
#include "step.glsl"
#include "flat.glsl"
layout(std430, set = 0, binding = 0) readonly buffer XBuf { vec4 x[]; };
layout(std430, set = 0, binding = 1) buffer EmaBuf { vec4 ema[]; };
layout(std430, set = 0, binding = 2) readonly buffer NormBuf { vec4 norm[]; };
layout(std430, set = 0, binding = 3) readonly buffer StepBuf { StepScalars step; };

float average;
bool skip;

void element(uint i) {
    vec4 e = ema[i];
    ema[i] = skip ? e : e + average * (x[i] - e);
}

void main() {
    average = 1.0 - step.emaDecay;
    skip = norm[0].z != 0.0;
    eachElement();
}
