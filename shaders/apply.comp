// Writes the value of a tensor: a block's output.
// x [N HW C] with what is pending on it, keep [N], skip [N HW C] -> dst = value(x)*keep[n] + skip; overwrites dst.
// Requires C % 4 == 0. One invocation: 4 channels of every LY-th pixel of a tile.
// Groups: x over channels, y over tiles of an image, z over images.
// CPU twin: tests/ref/apply.go.
#version 450
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0, local_size_y_id = 1) in;
layout(constant_id = 2) const bool KEEP = false;
layout(constant_id = 3) const bool SKIP = false;

#define PENDING_WIDTH 4
#define PENDING_ID 4
#define PENDING_BINDING 4
#include "pending.glsl"

layout(std430, set = 0, binding = 0) readonly buffer XBuf { E4 x[]; };
layout(std430, set = 0, binding = 1) readonly buffer KeepBuf { float keep[]; };
layout(std430, set = 0, binding = 2) readonly buffer SkipBuf { E4 skip[]; };
layout(std430, set = 0, binding = 3) writeonly buffer DstBuf { E4 dst[]; };

layout(push_constant) uniform Params {
    uint C4; // C / 4
    uint HW;
    uint tile;   // pixels of a workgroup
    uint image0; // image that x, skip and dst begin with
} p;

void main() {
    uint c = gl_GlobalInvocationID.x;
    uint n = gl_WorkGroupID.z;
    if (c >= p.C4) return;
    uint image = n + p.image0;
    InChannel channel = inChannel(c, p.C4);
    float k = KEEP ? keep[image] : 1.0;
    uint end = min((gl_WorkGroupID.y + 1) * p.tile, p.HW);
    for (uint pixel = gl_WorkGroupID.y * p.tile + gl_LocalInvocationID.y; pixel < end; pixel += gl_WorkGroupSize.y) {
        uint i = (n * p.HW + pixel) * p.C4 + c;
        vec4 v = inValue(load4(x[i]), channel, image, c, p.C4) * k;
        if (SKIP) v += load4(skip[i]);
        dst[i] = store4(v);
    }
}
