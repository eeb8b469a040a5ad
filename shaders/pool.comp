// Global pooling of a tensor, for squeeze-and-excite and the head.
// x [N HW C] with what is pending on it -> pool [1][N][C]: the mean of the value over HW; with GRAD pool [3][N][C]: also
//   s2 = sum of act'(z) and s4 = sum of act'(z)*yhat, yhat = (y - mean)*rstd, which the backward pass needs.
// Overwrites pool. Requires C % 4 == 0. One workgroup: 4*LX channels of an image; LY invocations share the pixels of
// 4 channels. Shared: 48*LX*LY bytes.
// Groups: x over channels, y over images.
// CPU twin: tests/ref/se.go.
#version 450
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0, local_size_y_id = 1) in;
const uint LX = gl_WorkGroupSize.x;
const uint LY = gl_WorkGroupSize.y;
layout(constant_id = 2) const bool GRAD = false;

#define PENDING_WIDTH 4
#define PENDING_ID 3
#define PENDING_BINDING 2
#include "pending.glsl"

layout(std430, set = 0, binding = 0) readonly buffer XBuf { E4 x[]; };
layout(std430, set = 0, binding = 1) writeonly buffer PoolBuf { vec4 pool[]; };

layout(push_constant) uniform Params {
    uint C4; // C / 4
    uint HW;
    uint N;      // images of pool
    uint image0; // image that x begins with
} p;

struct Sums { vec4 u, d, dy; };

shared Sums sharedSums[LX * LY];

void main() {
    uint c = gl_GlobalInvocationID.x;
    uint n = gl_WorkGroupID.y;
    uint ly = gl_LocalInvocationID.y;
    uint at = ly * LX + gl_LocalInvocationID.x;
    uint image = n + p.image0;
    Sums sum = Sums(vec4(0.0), vec4(0.0), vec4(0.0));
    if (c < p.C4) {
        InChannel channel = inChannel(c, p.C4);
        vec4 rstd = GRAD && IN_BN ? inBN[3 * p.C4 + c] : vec4(1.0);
        for (uint pixel = ly; pixel < p.HW; pixel += LY) {
            vec4 y = load4(x[(n * p.HW + pixel) * p.C4 + c]);
            if (GRAD) {
                vec4 dev = y - channel.mean;
                vec4 u, d;
                actBoth(IN_ACT, channel.scale * dev + channel.beta, u, d);
                sum.u += u;
                sum.d += d;
                sum.dy += d * (dev * rstd);
            } else {
                sum.u += inValue(y, channel, image, c, p.C4);
            }
        }
    }
    if (LY > 1) {
        sharedSums[at] = sum;
        barrier();
        for (uint i = at + LX; i < LX * LY && ly == 0; i += LX) {
            sum.u += sharedSums[i].u;
            sum.d += sharedSums[i].d;
            sum.dy += sharedSums[i].dy;
        }
    }
    if (ly == 0 && c < p.C4) {
        pool[image * p.C4 + c] = sum.u / float(p.HW);
        if (GRAD) {
            pool[(p.N + image) * p.C4 + c] = sum.d;
            pool[(2 * p.N + image) * p.C4 + c] = sum.dy;
        }
    }
}
