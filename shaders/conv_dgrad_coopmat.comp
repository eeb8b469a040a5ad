#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// Dense convolution, gradient with respect to its input, as conv_dgrad_tiled.comp computes it, on cooperative matrices: dy
// (gradin.glsl) and w are rounded to the 16 bits of the storage type before the product, sums are float32; du goes to the
// sink (sink.glsl).
// g and y [N P Q K], w [K R S C], dx [N H W C].
// Requires C % 8 == 0, K % 8 == 0, and what coopmat.glsl does.
// Implicit GEMM per class of input pixels (conv_dgrad.glsl), gemmN = C, gemmK = taps*K. A [TILE_ROWS][SLICE] of dy and
// B [TILE_COLS][SLICE] of w in shared memory. A workgroup walks `tiles` row tiles. The next slice is loaded while this one is
// multiplied; dy is built when it goes to shared memory, so that the loads need not have arrived before.
// CPU twin: tests/ref/conv.go.
#include "coopmat.glsl"
#define DY_WIDTH 4
#define DY_ID 8
#define DY_BINDING 0
#include "gradin.glsl"
#define SINK_WIDTH 4
#define SINK_ID 13
#define SINK_BINDING 7
#include "sink.glsl"
#include "conv_dgrad.glsl"
layout(std430, set = 0, binding = 6) readonly buffer WBuf { vec4 w[]; };

// Items of A are 8 values of a row.
const uint A_ITEMS = CEIL_DIV(TILE_ROWS * SLICE8, THREADS);
uint aRow(uint j) { return (gl_LocalInvocationIndex + j * THREADS) / SLICE8; }

Pixel px[A_ITEMS];

// The next slice as it is stored, loaded while this one is multiplied.
E4 gNext[2 * A_ITEMS], yNext[2 * A_ITEMS];
vec4 bNext[4];
bool aInside[A_ITEMS];
uint k4; // channel of this invocation's items of A, in vec4
DyChannel ch[2];

void loadSlice(Class cl, uint tapsW, uint gemmK, uint k0) {
    uint K4 = p.K / 4, C4 = p.C / 4;
    uint kk = k0 / 4 + 2 * (gl_LocalInvocationIndex % SLICE8);
    uint t = kk / K4;
    uint r = cl.r0 + t / tapsW * p.stride, s = cl.s0 + t % tapsW * p.stride;
    k4 = kk - t * K4;
    ch[0] = dyChannel(k4, K4);
    ch[1] = dyChannel(k4 + 1, K4);
    [[unroll]] for (uint j = 0; j < A_ITEMS; j++) {
        int off = tapOffset(cl, px[j], r, s) >> 2;
        aInside[j] = off >= 0 && 4 * kk < gemmK;
        uint at = max(off, 0) + k4;
        [[unroll]] for (uint e = 0; e < 2; e++) {
            if (!DY_NOG) gNext[2 * j + e] = g[at + e];
            if (DY_Y) yNext[2 * j + e] = y[at + e];
        }
    }
    uint row = k0 + 2 * pairRow(), col = gl_WorkGroupID.x * OUT_WIDTH + 2 * pairColumn();
    t = row / p.K;
    r = cl.r0 + t / tapsW * p.stride;
    s = cl.s0 + t % tapsW * p.stride;
    bool inside = row < gemmK && col < C4;
    uint at = inside ? (((row - t * p.K) * p.R + r) * p.S + s) * C4 + col : 0, apart = p.R * p.S * C4;
    [[unroll]] for (uint e = 0; e < 4; e++) bNext[e] = inside ? w[at + e / 2 * apart + e % 2] : vec4(0.0);
}

// Half an item of A, rounded.
E4 aValue(uint j, uint e) {
    E4 raw = gNext[2 * j + e];
    return DY_ANY ? store4(dyFrom(load4(raw), load4(yNext[2 * j + e]), ch[e], dyImage(p.n0 + px[j].n, k4 + e, p.K / 4))) : raw;
}

// Puts the loaded slice into shared memory, for all to read.
void storeSlice() {
    barrier(); // the slice before has been read
    [[unroll]] for (uint j = 0; j < A_ITEMS; j++) {
        uvec4 v = aInside[j] ? bits8(aValue(j, 0), aValue(j, 1)) : uvec4(0);
        if (aRow(j) < TILE_ROWS) tile[aRow(j) * STRIDE + gl_LocalInvocationIndex % SLICE8] = v;
    }
    if (8 * pairColumn() < TILE_COLS) storePair(B_AT, store4(bNext[0]), store4(bNext[1]), store4(bNext[2]), store4(bNext[3]));
    barrier();
}

void main() {
    Class cl = classOf(gl_WorkGroupID.z);
    uint part = gl_WorkGroupID.y % p.parts, segment = gl_WorkGroupID.y / p.parts;
    uint rows = segmentImages() * cl.H * cl.W;
    uint tapsH = cl.r0 < p.R ? CEIL_DIV(p.R - cl.r0, p.stride) : 0, tapsW = cl.s0 < p.S ? CEIL_DIV(p.S - cl.s0, p.stride) : 0;
    uint gemmK = tapsH * tapsW * p.K;
    uint C4 = p.C / 4, col = gl_WorkGroupID.x * OUT_WIDTH + outColumn();
    bool own = col < C4;
    uint first = part * p.tiles * TILE_ROWS;
    uint last = min(first + p.tiles * TILE_ROWS, rows);
    SinkChannel sc = sinkChannel(min(col, C4 - 1), C4);
    SinkSums sum = sinkZero();

    for (uint m0 = first; m0 < last; m0 += TILE_ROWS) {
        clearTile();
        [[unroll]] for (uint j = 0; j < A_ITEMS; j++) px[j] = pixelOf(cl, segment, min(m0 + aRow(j), rows - 1));
        for (uint next = 0; next < gemmK + SLICE; next += SLICE) {
            if (next > 0) storeSlice();
            if (next < gemmK) loadSlice(cl, tapsW, gemmK, next);
            if (next > 0) multiplySlice();
        }
        [[unroll]] for (uint i = 0; i < TILES_M; i++) {
            storeBand(i);
            [[unroll]] for (uint j = 0; j < BAND_EACH; j++) {
                uint row = bandRow(j), m = m0 + i * BAND_ROWS + row;
                if (row < BAND_ROWS && m < last && own) {
                    Pixel q = pixelOf(cl, segment, m);
                    sinkStore(bandValue(row), pixelOffset(cl, q) / 4 + col, p.n0 + q.n, sc, sum);
                }
            }
        }
    }

    if (SINK_SUMS) {
        // Rows of invocations are added in order.
        uint at = gl_LocalInvocationIndex;
        barrier();
        tile[at] = floatBitsToUint(sum.s0);
        tile[THREADS + at] = floatBitsToUint(sum.s1);
        if (SINK_SE) tile[2 * THREADS + at] = floatBitsToUint(sum.s2);
        barrier();
        if (at < OUT_WIDTH && own) {
            for (uint lane = 1; lane < LANES_M; lane++) {
                uint from = at + lane * OUT_WIDTH;
                sum.s0 += uintBitsToFloat(tile[from]);
                sum.s1 += uintBitsToFloat(tile[THREADS + from]);
                if (SINK_SE) sum.s2 += uintBitsToFloat(tile[2 * THREADS + from]);
            }
            sinkWrite(sum, sumsRow(segment, part), col, C4);
        }
    }
}
