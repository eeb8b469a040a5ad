// Writes the gradient of a raw output: dy built by include/gradin.glsl -> dst [N HW C]; overwrites dst, which may be g.
// Requires C % 4 == 0. One invocation: 4 channels of every LY-th pixel of a tile.
// Groups: x over channels, y over tiles of an image, z over images. Unless EACH is 0, see include/pixels.glsl.
// CPU twin: tests/ref/apply.go.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

layout(local_size_x_id = 0, local_size_y_id = 1) in;

layout(constant_id = 7) const uint EACH = 0; // pixels.glsl

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

DyChannel channel;
DyImage image;

void element(uint i) { dst[i] = store4(dyOf(i, channel, image)); }

#include "pixels.glsl"

void main() {
    uint c = gl_GlobalInvocationID.x;
    uint n = gl_WorkGroupID.z;
    if (EACH == 0 && c >= p.C4) return;
    channel = dyChannel(c, p.C4);
    image = dyImage(n + p.image0, c, p.C4);
    eachPixel(n, c);
}
