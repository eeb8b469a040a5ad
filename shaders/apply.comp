// Writes the value of a tensor: a block's output.
// x [N HW C] with what is pending on it, keep [N], skip [N HW C] -> dst = value(x)*keep[n] + skip; overwrites dst.
// Requires C % 4 == 0. One invocation: 4 channels of every LY-th pixel of a tile.
// Groups: x over channels, y over tiles of an image, z over images. Unless EACH is 0, see include/pixels.glsl.
// CPU twin: tests/ref/apply.go.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

layout(local_size_x_id = 0, local_size_y_id = 1) in;
layout(constant_id = 2) const bool KEEP = false;
layout(constant_id = 3) const bool SKIP = false;
layout(constant_id = 7) const uint EACH = 0; // pixels.glsl

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

InChannel channel;
vec4 gate;
float k;

void element(uint i) {
    vec4 v = inGated(load4(x[i]), channel, gate) * k;
    if (SKIP) v += load4(skip[i]);
    dst[i] = store4(v);
}

#include "pixels.glsl"

void main() {
    uint c = gl_GlobalInvocationID.x;
    uint n = gl_WorkGroupID.z;
    if (EACH == 0 && c >= p.C4) return;
    uint image = n + p.image0;
    channel = inChannel(c, p.C4);
    gate = inGateOf(image, c, p.C4);
    k = KEEP ? keep[image] : 1.0;
    eachPixel(n, c);
}
