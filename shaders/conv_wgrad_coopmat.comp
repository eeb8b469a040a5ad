#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// Dense convolution, gradient with respect to its weights, as conv_wgrad_tiled.comp computes it, on cooperative matrices: dy
// (gradin.glsl) and the value of x (pending.glsl) are rounded to the 16 bits of the storage type before the product, sums are
// float32.
// x [N H W C], g and y [N P Q K] -> dw [splits][K R S C]; overwrites it. Each split sums a run of pixels; conv_wgrad_reduce
// adds the splits.
// Requires K % 8 == 0, C % 8 == 0, THREADS % (TILE_ROWS/8) == 0, THREADS % (TILE_COLS/8) == 0, and what coopmat.glsl does.
// POINT: 1x1, stride 1.
// GEMM, gemmM = K, gemmN = R*S*C, gemmK = N*P*Q: A [SLICE][TILE_ROWS] of dy, read by columns, and B [SLICE][TILE_COLS] of x in
// shared memory. The next slice is loaded while this one is multiplied; dy and the value of x are computed when they go to
// shared memory, so that the loads need not have arrived before.
// CPU twin: tests/ref/conv.go.
#define COOP_A_BY_COLUMNS 1
#define COOP_A_ROWS SLICE
#define COOP_A_COLUMNS TILE_ROWS
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

// The next slice as it is stored, loaded while this one is multiplied, and the images of its pixels.
E4 gNext[2 * A_ITEMS], yNext[2 * A_ITEMS], xNext[2 * B_ITEMS];
uint aImage[A_ITEMS], bImage[B_ITEMS];
bool aInside[A_ITEMS], bInside[B_ITEMS];

uint k4; // channel of this invocation's items of A, in vec4
DyChannel dc[2];
Tap tap; // column of its items of B; c counts in vec4
InChannel xc[2];

void loadSlice(uint m0, uint last) {
    uint pq = p.P * p.Q, K4 = p.K / 4, C4 = p.C / 4;
    [[unroll]] for (uint j = 0; j < A_ITEMS; j++) {
        uint m = m0 + aItem(j) / A_WIDTH, at = min(m, last - 1);
        aInside[j] = m < last;
        aImage[j] = p.n0 + at / pq;
        [[unroll]] for (uint e = 0; e < 2; e++) {
            if (!DY_NOG) gNext[2 * j + e] = g[at * K4 + k4 + e];
            if (DY_Y) yNext[2 * j + e] = y[at * K4 + k4 + e];
        }
    }
    [[unroll]] for (uint j = 0; j < B_ITEMS; j++) {
        uint m = m0 + bRow(j), at = min(m, last - 1);
        uint n = at / pq, rest = at - n * pq;
        uint row = rest / p.Q, q = rest - row * p.Q;
        int off = POINT ? int(at * C4) : tapOffset(tap, n, row, q) >> 2;
        bInside[j] = m < last && off >= 0;
        bImage[j] = p.n0 + n;
        uint from = max(off, 0) + tap.c;
        xNext[2 * j] = x[from];
        xNext[2 * j + 1] = x[from + 1];
    }
}

// Halves of an item of A and of one of B, rounded.
E4 aValue(uint j, uint e) {
    E4 raw = gNext[2 * j + e];
    return DY_ANY ? store4(dyFrom(load4(raw), load4(yNext[2 * j + e]), dc[e], dyImage(aImage[j], k4 + e, p.K / 4))) : raw;
}
E4 bValue(uint j, uint e) {
    E4 raw = xNext[2 * j + e];
    return IN_ANY ? store4(inValue(load4(raw), xc[e], bImage[j], tap.c + e, p.C / 4)) : raw;
}

// Puts the loaded slice into shared memory, for all to read.
void storeSlice() {
    barrier(); // the slice before has been read
    [[unroll]] for (uint j = 0; j < A_ITEMS; j++) {
        uint row = aItem(j) / A_WIDTH;
        uvec4 v = aInside[j] ? bits8(aValue(j, 0), aValue(j, 1)) : uvec4(0);
        if (row < SLICE) tile[row * A_STRIDE + gl_LocalInvocationIndex % A_WIDTH] = v;
    }
    [[unroll]] for (uint j = 0; j < B_ITEMS; j++) {
        uvec4 v = bInside[j] ? bits8(bValue(j, 0), bValue(j, 1)) : uvec4(0);
        if (bRow(j) < SLICE) tile[B_AT + bRow(j) * B_STRIDE + bColumn(j)] = v;
    }
    barrier();
}

void main() {
    uint rsc = p.R * p.S * p.C, K4 = p.K / 4;
    k4 = min(gl_WorkGroupID.y * (TILE_ROWS / 4) + 2 * (gl_LocalInvocationIndex % A_WIDTH), K4 - 2);
    tap = tapOf(min(gl_WorkGroupID.x * TILE_COLS + 8 * (gl_LocalInvocationIndex % B_WIDTH), rsc - 8));
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
