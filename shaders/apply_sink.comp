// Disposes of a gradient that is already in memory: du [N HW C] through include/sink.glsl; dx may be du.
// Requires C % 4 == 0. One invocation: 4 channels of every LY-th pixel of a tile. A workgroup's sums are one part, added in
// the order of its invocations. Shared: 48*LX*LY bytes when sums are taken and LY > 1.
// Groups: x over channels, y over tiles of an image, z over images.
// CPU twin: tests/ref/apply.go.
#version 450
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0, local_size_y_id = 1) in;
const uint LX = gl_WorkGroupSize.x;
const uint LY = gl_WorkGroupSize.y;

#define SINK_WIDTH 4
#define SINK_ID 2
#define SINK_BINDING 1
#include "sink.glsl"

layout(std430, set = 0, binding = 0) readonly buffer DuBuf { E4 du[]; };

layout(push_constant) uniform Params {
    uint C4; // C / 4
    uint HW;
    uint tile;   // pixels of a workgroup
    uint image0; // image that du, dx, add and x begin with
} p;

shared SinkSums sharedSums[LX * LY];

void main() {
    uint c = gl_GlobalInvocationID.x;
    uint n = gl_WorkGroupID.z;
    uint at = gl_LocalInvocationID.y * LX + gl_LocalInvocationID.x;
    uint image = n + p.image0;
    SinkSums total = sinkZero();
    if (c < p.C4) {
        SinkChannel channel = sinkChannel(c, p.C4);
        uint end = min((gl_WorkGroupID.y + 1) * p.tile, p.HW);
        for (uint pixel = gl_WorkGroupID.y * p.tile + gl_LocalInvocationID.y; pixel < end; pixel += LY) {
            uint i = (n * p.HW + pixel) * p.C4 + c;
            sinkStore(load4(du[i]), i, image, channel, total);
        }
    }
    if (SINK_SUMS) {
        if (LY > 1) {
            sharedSums[at] = total;
            barrier();
            for (uint i = at + LX; i < LX * LY && gl_LocalInvocationID.y == 0; i += LX) total = sinkAdd(total, sharedSums[i]);
        }
        if (gl_LocalInvocationID.y == 0 && c < p.C4) {
            sinkWrite(total, image * gl_NumWorkGroups.y + gl_WorkGroupID.y, c, p.C4);
        }
    }
}
