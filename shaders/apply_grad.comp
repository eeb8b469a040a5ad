// Writes the gradient of a raw output: dy built by include/gradin.glsl -> dst [N HW C]; overwrites dst, which may be g.
// Requires C % 4 == 0. One invocation: 4 channels of every LY-th pixel of a tile.
// Groups: x over channels, y over tiles of an image, z over images.
// CPU twin: tests/ref/apply.go.
#version 450
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0, local_size_y_id = 1) in;

#define DY_WIDTH 4
#define DY_ID 2
#define DY_BINDING 0
#include "gradin.glsl"

layout(std430, set = 0, binding = 6) writeonly buffer DstBuf { E4 dst[]; };

layout(push_constant) uniform Params {
    uint C4; // C / 4
    uint HW;
    uint tile;   // pixels of a workgroup
    uint image0; // image that g, y and dst begin with
} p;

void main() {
    uint c = gl_GlobalInvocationID.x;
    uint n = gl_WorkGroupID.z;
    if (c >= p.C4) return;
    DyChannel channel = dyChannel(c, p.C4);
    uint end = min((gl_WorkGroupID.y + 1) * p.tile, p.HW);
    for (uint pixel = gl_WorkGroupID.y * p.tile + gl_LocalInvocationID.y; pixel < end; pixel += gl_WorkGroupSize.y) {
        uint i = (n * p.HW + pixel) * p.C4 + c;
        dst[i] = store4(dyValue(i, channel, n + p.image0, c, p.C4));
    }
}
