// What the variants of conv_wgrad share: the push block, which ends with POINTERS where they are defined, and the addressing
// of taps.
layout(push_constant) uniform Params {
    uint M;       // N*P*Q of this call's images
    uint n0;      // the first of them, where keep, gate and e are indexed
    uint H, W, C, K, R, S, stride, padTop, padLeft, P, Q;
    uint rows;    // pixels per split
    uint split0;  // this call's first split
#ifdef POINTERS
    POINTERS
#endif
} p;

// Tap is a column of gemmN.
struct Tap { uint r, s, c; };

Tap tapOf(uint column) {
    uint rs = column / p.C;
    uint r = rs / p.S;
    return Tap(r, rs - r * p.S, column - rs * p.C);
}

// tapOffset returns where channel 0 of the input lies that the tap meets at output (row, q), in floats; -1 in the padding.
int tapOffset(Tap t, uint n, uint row, uint q) {
    int h = int(row * p.stride + t.r) - int(p.padTop), w = int(q * p.stride + t.s) - int(p.padLeft);
    bool inside = uint(h) < p.H && uint(w) < p.W;
    return inside ? int(((n * p.H + uint(h)) * p.W + uint(w)) * p.C) : -1;
}
