#version 450
#extension GL_GOOGLE_include_directive : require
// The network's input from packed images: v = lambda*image[n] + (1-lambda)*image[partner], out = (v/255 - mean)/std.
// image: packed [all][pixels]; out: [N][pixels][3] float, N images from `first` on, overwritten. One invocation: one pixel.
// Source of the mixing: Zhang et al. 2017, arXiv:1710.09412. CPU twin: tests/ref/image.go.
#include "elem.glsl"
#include "image.glsl"
layout(local_size_x = 64) in;
layout(push_constant) uniform Params {
    uint first, pixels;
    float mean0, mean1, mean2, std0, std1, std2;
} p;
layout(std430, set = 0, binding = 0) readonly buffer ImageBuf { uint image[]; };
layout(std430, set = 0, binding = 1) readonly buffer TableBuf { ImageRow table[]; };
layout(std430, set = 0, binding = 2) writeonly buffer OutBuf { E1 normalized[]; };

void main() {
    uint i = gl_GlobalInvocationID.x, n = gl_WorkGroupID.y;
    if (i >= p.pixels) return;
    float lambda = table[p.first + n].lambda;
    vec3 v = unpackPixel(image[(p.first + n) * p.pixels + i]);
    if (lambda != 1.0) v = lambda * v + (1.0 - lambda) * unpackPixel(image[table[p.first + n].partner * p.pixels + i]);
    v = (v / 255.0 - vec3(p.mean0, p.mean1, p.mean2)) / vec3(p.std0, p.std1, p.std2);
    uint o = (n * p.pixels + i) * 3;
    normalized[o] = store1(v.r);
    normalized[o + 1] = store1(v.g);
    normalized[o + 2] = store1(v.b);
}
