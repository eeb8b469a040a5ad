#version 450
#extension GL_GOOGLE_include_directive : require
// A region of each packed source image, resized to height x width with bilinear interpolation, half-pixel centres and no
// antialiasing (tf.image.resize's default), optionally mirrored, rounded to nearest. Samples are clamped to the source.
// pixels: the sources' words; out: packed [N][height][width], overwritten. One invocation: one pixel.
// CPU twin: tests/ref/image.go.
#include "image.glsl"
layout(local_size_x = 64) in;
layout(push_constant) uniform Params { uint height, width; } p;
layout(std430, set = 0, binding = 0) readonly buffer PixelsBuf { uint pixels[]; };
layout(std430, set = 0, binding = 1) readonly buffer TableBuf { ImageRow table[]; };
layout(std430, set = 0, binding = 2) writeonly buffer OutBuf { uint cropped[]; };

void main() {
    uint i = gl_GlobalInvocationID.x, n = gl_WorkGroupID.y;
    if (i >= p.height * p.width) return;
    ImageRow r = table[n];
    uint oy = i / p.width, ox = i - oy * p.width;
    uint column = r.flip != 0 ? p.width - 1 - ox : ox;
    float sx = r.x + (float(column) + 0.5) * (r.cropWidth / float(p.width)) - 0.5;
    float sy = r.y + (float(oy) + 0.5) * (r.cropHeight / float(p.height)) - 0.5;
    float fx = floor(sx), fy = floor(sy);
    ivec2 last = ivec2(r.width, r.height) - 1;
    ivec2 a = clamp(ivec2(fx, fy), ivec2(0), last), b = clamp(ivec2(fx, fy) + 1, ivec2(0), last);
    uint rowA = r.offset + uint(a.y) * r.width, rowB = r.offset + uint(b.y) * r.width;
    vec3 top = mix(unpackPixel(pixels[rowA + a.x]), unpackPixel(pixels[rowA + b.x]), sx - fx);
    vec3 bottom = mix(unpackPixel(pixels[rowB + a.x]), unpackPixel(pixels[rowB + b.x]), sx - fx);
    vec3 v = mix(top, bottom, sy - fy);
    cropped[n * p.height * p.width + i] = packPixel(uvec3(clamp(v + 0.5, 0.0, 255.0)));
}
