// What the variants of conv_dgrad share: the push block, which ends with POINTERS where they are defined, classes of pixels and the addressing of taps. Include after sink.glsl.
//
// With a stride, the input pixels with h % stride = h0 and w % stride = w0 form a class: all of them meet the same taps,
// r = r0, r0 + stride, ..., so no tap that meets no output is multiplied. gl_WorkGroupID.z is the class h0*stride + w0.
// The pixels of a class form segments, one per image with SE (sums per image) and one for all else; the rows of a
// segment are split into parts of tiles.
layout(push_constant) uniform Params {
    uint images;  // of this call
    uint n0;      // the first of them, where keep, gate and e are indexed
    uint H, W, C, K, R, S, stride, padTop, padLeft, P, Q;
    uint tiles;   // row tiles per part
    uint parts;   // parts per segment and class
    uint part0;   // this call's first row of sums
#ifdef POINTERS
    POINTERS
#endif
} p;

// Class: its first pixel, its size, its first tap, and the output coordinates where that tap meets its first pixel.
struct Class { uint h0, w0, H, W, r0, s0; int p0, q0; };

Class classOf(uint z) {
    Class c;
    c.h0 = z / p.stride;
    c.w0 = z - c.h0 * p.stride;
    c.H = (p.H + p.stride - 1 - c.h0) / p.stride;
    c.W = (p.W + p.stride - 1 - c.w0) / p.stride;
    uint h = c.h0 + p.padTop, w = c.w0 + p.padLeft;
    c.r0 = h % p.stride;
    c.s0 = w % p.stride;
    c.p0 = int(h / p.stride);
    c.q0 = int(w / p.stride);
    return c;
}

uint segmentImages() { return SINK_SE ? 1 : p.images; }

uint sumsRow(uint segment, uint part) {
    return p.part0 + (segment * p.stride * p.stride + gl_WorkGroupID.z) * p.parts + part;
}

// Pixel is a row of gemmM: the image and the coordinates within the class.
struct Pixel { uint n, h, w; };

Pixel pixelOf(Class cl, uint segment, uint m) {
    uint hw = cl.H * cl.W;
    uint n = m / hw, rest = m - n * hw;
    uint h = rest / cl.W;
    return Pixel(segment * segmentImages() + n, h, rest - h * cl.W);
}

// pixelOffset returns where channel 0 of the pixel lies in dx, in floats.
uint pixelOffset(Class cl, Pixel px) {
    return ((px.n * p.H + cl.h0 + px.h * p.stride) * p.W + cl.w0 + px.w * p.stride) * p.C;
}

// tapOffset returns where channel 0 of the dy that meets the pixel through tap (r, s) lies, in floats; -1 if outside.
int tapOffset(Class cl, Pixel px, uint r, uint s) {
    int h = cl.p0 + int(px.h) - int((r - cl.r0) / p.stride), w = cl.q0 + int(px.w) - int((s - cl.s0) / p.stride);
    bool inside = uint(h) < p.P && uint(w) < p.Q;
    return inside ? int(((px.n * p.P + uint(h)) * p.Q + uint(w)) * p.K) : -1;
}
