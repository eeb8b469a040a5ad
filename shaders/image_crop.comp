#version 450
#extension GL_GOOGLE_include_directive : require
// A region of each packed source image, resized to height x width with bilinear interpolation and half-pixel centres,
// optionally mirrored, rounded to nearest. Without ANTIALIAS the four nearest pixels count, clamped to the source
// (tf.image.resize's default); with it all pixels of the source under a triangle that is stretched by the scale of the
// reduction (Pillow's BILINEAR, but for its rounding between the axes).
// pixels: the sources' words; out: packed [N][height][width], overwritten. One invocation: one pixel.
// CPU twin: tests/ref/image.go.
#include "image.glsl"
layout(constant_id = 0) const bool ANTIALIAS = false;
layout(local_size_x = 64) in;
layout(push_constant) uniform Params { uint height, width; } p;
layout(std430, set = 0, binding = 0) readonly buffer PixelsBuf { uint pixels[]; };
layout(std430, set = 0, binding = 1) readonly buffer TableBuf { ImageRow table[]; };
layout(std430, set = 0, binding = 2) writeonly buffer OutBuf { uint cropped[]; };

// nearest is the mean of the four pixels around s, weighted by their distance.
vec3 nearest(ImageRow r, vec2 s) {
    vec2 f = floor(s - 0.5), t = s - 0.5 - f;
    ivec2 last = ivec2(r.width, r.height) - 1;
    ivec2 a = clamp(ivec2(f), ivec2(0), last), b = clamp(ivec2(f) + 1, ivec2(0), last);
    uint rowA = r.offset + uint(a.y) * r.width, rowB = r.offset + uint(b.y) * r.width;
    vec3 top = mix(unpackPixel(pixels[rowA + a.x]), unpackPixel(pixels[rowA + b.x]), t.x);
    vec3 bottom = mix(unpackPixel(pixels[rowB + a.x]), unpackPixel(pixels[rowB + b.x]), t.x);
    return mix(top, bottom, t.y);
}

// triangle is the mean of all pixels of the source less than `reach` from s, weighted by their distance; reach is at least
// 1, so that the nearest pixel counts even at the edge.
vec3 triangle(ImageRow r, vec2 s, vec2 reach) {
    ivec2 size = ivec2(r.width, r.height);
    s = clamp(s, vec2(0.0), vec2(size));
    ivec2 from = clamp(ivec2(floor(s - reach + 0.5)), ivec2(0), size - 1);
    ivec2 to = clamp(ivec2(floor(s + reach + 0.5)), from + 1, size);
    vec3 sum = vec3(0.0);
    float weights = 0.0;
    for (int y = from.y; y < to.y; y++) {
        float wy = max(1.0 - abs(float(y) + 0.5 - s.y) / reach.y, 0.0);
        for (int x = from.x; x < to.x; x++) {
            float w = wy * max(1.0 - abs(float(x) + 0.5 - s.x) / reach.x, 0.0);
            sum += w * unpackPixel(pixels[r.offset + uint(y) * r.width + uint(x)]);
            weights += w;
        }
    }
    return sum / weights;
}

void main() {
    uint i = gl_GlobalInvocationID.x, n = gl_WorkGroupID.y;
    if (i >= p.height * p.width) return;
    ImageRow r = table[n];
    uint oy = i / p.width, ox = i - oy * p.width;
    uint column = r.flip != 0 ? p.width - 1 - ox : ox;
    vec2 scale = vec2(r.cropWidth, r.cropHeight) / vec2(p.width, p.height);
    vec2 at = vec2(r.x, r.y) + (vec2(column, oy) + 0.5) * scale; // in the source; pixel i covers i to i+1
    vec3 v = ANTIALIAS ? triangle(r, at, max(scale, vec2(1.0))) : nearest(r, at);
    cropped[n * p.height * p.width + i] = packPixel(uvec3(clamp(v + 0.5, 0.0, 255.0)));
}
