#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// Dense convolution, gradient with respect to its weights, as conv_wgrad_tiled.comp computes it, on cooperative matrices: dy
// (gradin.glsl) and the value of x (pending.glsl) are rounded to the 16 bits of the storage type before the product, sums are
// float32.
// x [N H W C], g and y [N P Q K] -> dw [splits][K R S C]; overwrites it. Each split sums a run of pixels; conv_wgrad_reduce
// adds the splits.
// Requires K % 8 == 0, C % 8 == 0, THREADS >= 2*TILE_ROWS, TILE_ROWS % 16 == 0, and what coopmat.glsl does. POINT: 1x1, stride 1.
// GEMM, gemmM = K, gemmN = R*S*C, gemmK = N*P*Q: A [TILE_ROWS][SLICE] of dy and B [TILE_COLS][SLICE] of x in shared memory. The next slice is loaded while this one is multiplied; dy and the value of x are computed when they go to
// shared memory, so that the loads need not have arrived before.
// CPU twin: tests/ref/conv.go.
#include "coopmat.glsl"
layout(constant_id = 8) const bool POINT = false;
#define DY_WIDTH 4
#define DY_ID 9
#define DY_BINDING 0
#include "gradin.glsl"
#define PENDING_WIDTH 4
#define PENDING_ID 14
#define PENDING_BINDING 7
#include "pending.glsl"
#include "conv_wgrad.glsl"
layout(std430, set = 0, binding = 6) readonly buffer XBuf { E4 x[]; };
layout(std430, set = 0, binding = 9) writeonly buffer DwBuf { vec4 dw[]; };

// The next slice as it is stored, loaded while this one is multiplied: a pair of pixels and the images that they are of.
E4 gNext[4], yNext[4], xNext[4];
uint image[2];
bool aInside[2], bInside[2];

uint k4; // first channel of this invocation's pair of A, in vec4
DyChannel dc[2];
Tap tap; // first column of its pair of B; c counts in vec4
InChannel xc[2];

void loadSlice(uint m0, uint last) {
    uint pq = p.P * p.Q, K4 = p.K / 4, C4 = p.C / 4;
    [[unroll]] for (uint i = 0; i < 2; i++) {
        uint m = m0 + 2 * pairRow() + i, at = min(m, last - 1);
        uint n = at / pq, rest = at - n * pq;
        uint row = rest / p.Q, q = rest - row * p.Q;
        int off = POINT ? int(at * C4) : tapOffset(tap, n, row, q) >> 2;
        image[i] = p.n0 + n;
        aInside[i] = m < last;
        bInside[i] = m < last && off >= 0;
        uint from = max(off, 0) + tap.c;
        [[unroll]] for (uint e = 0; e < 2; e++) {
            if (!DY_NOG) gNext[2 * i + e] = g[at * K4 + k4 + e];
            if (DY_Y) yNext[2 * i + e] = y[at * K4 + k4 + e];
            xNext[2 * i + e] = x[from + e];
        }
    }
}

// Part j of the pair of A and of that of B, rounded: half j % 2 of pixel j / 2.
E4 aValue(uint j) {
    uint i = j / 2, e = j % 2;
    E4 raw = gNext[j];
    E4 v = DY_ANY ? store4(dyFrom(load4(raw), load4(yNext[j]), dc[e], dyImage(image[i], k4 + e, p.K / 4))) : raw;
    return aInside[i] ? v : E4(0);
}
E4 bValue(uint j) {
    uint i = j / 2, e = j % 2;
    E4 raw = xNext[j];
    E4 v = IN_ANY ? store4(inValue(load4(raw), xc[e], image[i], tap.c + e, p.C / 4)) : raw;
    return bInside[i] ? v : E4(0);
}

// Puts the loaded slice into shared memory, for all to read.
void storeSlice() {
    barrier(); // the slice before has been read
    if (8 * pairColumn() < TILE_ROWS) storePair(0, aValue(0), aValue(1), aValue(2), aValue(3));
    if (8 * pairColumn() < TILE_COLS) storePair(B_AT, bValue(0), bValue(1), bValue(2), bValue(3));
    barrier();
}

void main() {
    uint rsc = p.R * p.S * p.C, K4 = p.K / 4;
    k4 = min(gl_WorkGroupID.y * (TILE_ROWS / 4) + 2 * pairColumn(), K4 - 2);
    tap = tapOf(min(gl_WorkGroupID.x * TILE_COLS + 8 * pairColumn(), rsc - 8));
    tap.c /= 4;
    [[unroll]] for (uint e = 0; e < 2; e++) {
        dc[e] = dyChannel(k4 + e, K4);
        xc[e] = inChannel(tap.c + e, p.C / 4);
    }
    clearTile();

    uint first = gl_WorkGroupID.z * p.rows, last = min(first + p.rows, p.M);
    for (uint next = first; next < last + SLICE; next += SLICE) {
        if (next > first) storeSlice();
        if (next < last) loadSlice(next, last);
        if (next > first) multiplySlice();
    }

    uint col = gl_WorkGroupID.x * OUT_WIDTH + outColumn();
    [[unroll]] for (uint i = 0; i < TILES_M; i++) {
        storeBand(i);
        [[unroll]] for (uint j = 0; j < BAND_EACH; j++) {
            uint row = bandRow(j), k = gl_WorkGroupID.y * TILE_ROWS + i * BAND_ROWS + row;
            if (row < BAND_ROWS && k < p.K && 4 * col < rsc) {
                dw[((p.split0 + gl_WorkGroupID.z) * p.K + k) * (rsc / 4) + col] = bandValue(row);
            }
        }
    }
}
