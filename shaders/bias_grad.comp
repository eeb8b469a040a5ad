#version 450
// Gradient of a bias: db[k] = sum over n of dy[n,k], in the order of n. Overwrites db.
// dy [N K], db [K]. One invocation: one k. CPU twin: tests/ref/loss.go.
layout(local_size_x = 64) in;
layout(push_constant) uniform Params { uint N, K; } p;
layout(std430, set = 0, binding = 0) readonly buffer DyBuf { float dy[]; };
layout(std430, set = 0, binding = 1) writeonly buffer DbBuf { float db[]; };

void main() {
    uint k = gl_GlobalInvocationID.x;
    if (k >= p.K) return;
    float sum = 0.0;
    for (uint n = 0; n < p.N; n++) sum += dy[n * p.K + k];
    db[k] = sum;
}
