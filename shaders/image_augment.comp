#version 450
#extension GL_GOOGLE_include_directive : require
// One RandAugment operation on each packed image, chosen and drawn by the host: row.op0 in pass 0, row.op1 in pass 1.
// Geometric operations sample at the nearest pixel and fill with 128. Blends are truncated to bytes, as the reference
// does. Source: google/automl efficientnetv2/autoaugment.py, with its contrast quirk: the degenerate image is
// min(255, pixels/256), not the mean grey. Sums and products of blends are rounded one by one, so bytes are the same
// everywhere. image, out: packed [N][height][width]; out is overwritten.
// One invocation: one pixel. CPU twin: tests/ref/image.go.
#include "image.glsl"
layout(local_size_x = 64) in;
layout(push_constant) uniform Params { uint pass, height, width; } p;
layout(std430, set = 0, binding = 0) readonly buffer ImageBuf { uint image[]; };
layout(std430, set = 0, binding = 1) readonly buffer TableBuf { ImageRow table[]; };
layout(std430, set = 0, binding = 2) writeonly buffer OutBuf { uint augmented[]; };

const uint NONE = 0, ROTATE = 1, SHEAR_X = 2, SHEAR_Y = 3, TRANSLATE_X = 4, TRANSLATE_Y = 5, BRIGHTNESS = 6, CONTRAST = 7,
           COLOR = 8, POSTERIZE = 9, SOLARIZE = 10, INVERT = 11, SOLARIZE_ADD = 12, SHARPNESS = 13, CUTOUT = 14;
const uint FILL = 128;

// roundAway rounds halves away from zero, as TensorFlow's nearest-neighbour sampling does.
float roundAway(float x) { return sign(x) * floor(abs(x) + 0.5); }

// blend goes from the degenerate image a to the image b and beyond.
vec3 blend(vec3 a, vec3 b, float factor) {
    precise vec3 step = factor * (b - a);
    precise vec3 sum = a + step;
    return floor(clamp(sum, 0.0, 255.0));
}

// smoothed is the mean of the 3x3 pixels around an inner pixel, which itself counts five times; border pixels stay.
vec3 smoothed(uint base, uint x, uint y) {
    uvec3 sum = uvec3(unpackPixel(image[base + y * p.width + x]));
    if (x == 0 || y == 0 || x + 1 >= p.width || y + 1 >= p.height) return vec3(sum);
    sum *= 4;
    for (uint j = y - 1; j <= y + 1; j++)
        for (uint i = x - 1; i <= x + 1; i++) sum += uvec3(unpackPixel(image[base + j * p.width + i]));
    return vec3(sum / 13);
}

void main() {
    uint i = gl_GlobalInvocationID.x, n = gl_WorkGroupID.y;
    if (i >= p.height * p.width) return;
    uint op = p.pass == 0 ? table[n].op0 : table[n].op1;
    float arg = p.pass == 0 ? table[n].arg0 : table[n].arg1;
    uint base = n * p.height * p.width;
    uint row = i / p.width, column = i - row * p.width;
    float y = float(row), x = float(column);
    precise vec2 from = vec2(x, y); // where a geometric operation samples
    if (op == ROTATE) {
        vec2 centre = (vec2(p.width, p.height) - 1.0) / 2.0, d = from - centre;
        float c = cos(radians(arg)), s = sin(radians(arg));
        from = centre + vec2(c * d.x - s * d.y, s * d.x + c * d.y);
    } else if (op == SHEAR_X) {
        from.x += arg * y;
    } else if (op == SHEAR_Y) {
        from.y += arg * x;
    } else if (op == TRANSLATE_X) {
        from.x += arg;
    } else if (op == TRANSLATE_Y) {
        from.y += arg;
    }
    uint word = packPixel(uvec3(FILL));
    ivec2 at = ivec2(roundAway(from.x), roundAway(from.y));
    if (at.x >= 0 && at.y >= 0 && at.x < int(p.width) && at.y < int(p.height)) word = image[base + uint(at.y) * p.width + uint(at.x)];
    vec3 v = unpackPixel(word);
    if (op == BRIGHTNESS) {
        v = blend(vec3(0.0), v, arg);
    } else if (op == CONTRAST) {
        v = blend(vec3(floor(min(255.0, float(p.height * p.width) / 256.0))), v, arg);
    } else if (op == COLOR) {
        precise vec3 part = v * vec3(0.2989, 0.587, 0.114);
        precise float sum = (part.r + part.g + part.b) * (255.5 / 255.0);
        float grey = floor(sum);
        v = blend(vec3(grey), v, arg);
    } else if (op == POSTERIZE) {
        uint shift = uint(clamp(8.0 - arg, 0.0, 8.0));
        v = vec3((uvec3(v) >> shift) << shift);
    } else if (op == SOLARIZE) {
        v = mix(255.0 - v, v, lessThan(v, vec3(arg)));
    } else if (op == INVERT) {
        v = 255.0 - v;
    } else if (op == SOLARIZE_ADD) {
        v = mix(v, clamp(v + arg, 0.0, 255.0), lessThan(v, vec3(128.0)));
    } else if (op == SHARPNESS) {
        v = blend(smoothed(base, column, row), v, arg);
    } else if (op == CUTOUT) {
        uint word = p.pass == 0 ? table[n].centre0 : table[n].centre1;
        vec2 d = vec2(x, y) - vec2(word & 0xFFFFu, word >> 16);
        if (all(greaterThanEqual(d, vec2(-arg))) && all(lessThan(d, vec2(arg)))) v = vec3(FILL);
    }
    augmented[base + i] = packPixel(uvec3(v));
}
