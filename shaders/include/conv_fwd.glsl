// What the variants of conv_fwd share: the push block, which ends with POINTERS where they are defined, and the addressing
// of taps.
#include "stats.glsl"

layout(push_constant) uniform Params {
    uint M;       // N*P*Q of this call's images
    uint n0;      // the first of them, where gate is indexed
    uint H, W, C, K, R, S, stride, padTop, padLeft, P, Q;
    uint tiles;   // row tiles per part
    uint part0;   // this call's first part of stats
    uint parts;   // all parts of stats
#ifdef POINTERS
    POINTERS
#endif
} p;

// Pixel is a row of gemmM: the image and the input coordinates of tap (0, 0).
struct Pixel { uint n; int h, w; };

Pixel pixelOf(uint m) {
    uint pq = p.P * p.Q;
    uint n = m / pq, rest = m - n * pq;
    uint row = rest / p.Q;
    return Pixel(n, int(row * p.stride) - int(p.padTop), int((rest - row * p.Q) * p.stride) - int(p.padLeft));
}

// tapOffset returns where channel 0 of tap (r, s) lies in x, in floats; -1 in the padding.
int tapOffset(Pixel px, uint r, uint s) {
    int h = px.h + int(r), w = px.w + int(s);
    bool inside = uint(h) < p.H && uint(w) < p.W;
    return inside ? int(((px.n * p.H + uint(h)) * p.W + uint(w)) * p.C) : -1;
}
