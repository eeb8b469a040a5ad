#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// Dense convolution, forward, as conv_fwd_tiled.comp computes it, on cooperative matrices: the value of x (pending.glsl) is
// rounded to the 16 bits of the storage type before the product, sums are float32.
// x [N H W C], wt [R S C K], bias [K], add and y [N P Q K]; overwrites y. With STATS also stats: [parts][2][K] (mean and
// M2 of what the part wrote) followed by [parts] row counts.
// Requires K % 8 == 0, C % 8 == 0, and what coopmat.glsl does.
// Implicit GEMM, gemmM = N*P*Q, gemmN = K, gemmK = R*S*C. A [TILE_ROWS][SLICE] of x and B [TILE_COLS][SLICE] of wt in shared
// memory. A workgroup walks `tiles` row tiles. The next slice is loaded while this one is multiplied; what is pending on it
// is applied when it goes to shared memory, so that the loads need not have arrived before.
// CPU twin: tests/ref/conv.go.
#include "coopmat.glsl"
layout(constant_id = 8) const bool STATS = false;
layout(constant_id = 9) const bool BIAS = false;
layout(constant_id = 10) const bool ADD = false;
layout(constant_id = 11) const uint ACT_OUT = 0;
#define PENDING_WIDTH 4
#define PENDING_ID 12
#define PENDING_BINDING 1
#include "pending.glsl"
#include "conv_fwd.glsl"
layout(std430, set = 0, binding = 0) readonly buffer XBuf { E4 x[]; };
layout(std430, set = 0, binding = 3) readonly buffer WtBuf { E4 wt[]; };
layout(std430, set = 0, binding = 4) readonly buffer BiasBuf { vec4 bias[]; };
layout(std430, set = 0, binding = 5) readonly buffer AddBuf { E4 add[]; };
layout(std430, set = 0, binding = 6) writeonly buffer YBuf { E4 y[]; };
layout(std430, set = 0, binding = 7) writeonly buffer StatsBuf { float stats[]; };

// Items of A are 8 values of a row.
const uint A_ITEMS = CEIL_DIV(TILE_ROWS * SLICE8, THREADS);
uint aRow(uint j) { return (gl_LocalInvocationIndex + j * THREADS) / SLICE8; }

Pixel px[A_ITEMS];

// The next slice as it is stored, loaded while this one is multiplied.
E4 aNext[2 * A_ITEMS], bNext[4];
bool aInside[A_ITEMS];
uint c4; // channel of this invocation's items of A, in vec4
InChannel ch[2];

void loadSlice(uint k0) {
    uint C4 = p.C / 4, K4 = p.K / 4, gemmK = p.R * p.S * p.C;
    uint k = k0 / 4 + 2 * (gl_LocalInvocationIndex % SLICE8);
    uint rs = k / C4, r = rs / p.S, s = rs - r * p.S;
    c4 = k - rs * C4;
    ch[0] = inChannel(c4, C4);
    ch[1] = inChannel(c4 + 1, C4);
    [[unroll]] for (uint j = 0; j < A_ITEMS; j++) {
        int off = tapOffset(px[j], r, s) >> 2;
        aInside[j] = off >= 0 && 4 * k < gemmK;
        uint at = max(off, 0) + c4;
        aNext[2 * j] = x[at];
        aNext[2 * j + 1] = x[at + 1];
    }
    uint row = k0 + 2 * pairRow(), col = gl_WorkGroupID.x * OUT_WIDTH + 2 * pairColumn();
    bool inside = row < gemmK && col < K4;
    uint at = inside ? row * K4 + col : 0;
    [[unroll]] for (uint e = 0; e < 4; e++) bNext[e] = inside ? wt[at + e / 2 * K4 + e % 2] : E4(0);
}

// Half an item of A, rounded.
E4 aValue(uint j, uint e) {
    E4 raw = aNext[2 * j + e];
    return IN_ANY ? store4(inValue(load4(raw), ch[e], p.n0 + px[j].n, c4 + e, p.C / 4)) : raw;
}

// Puts the loaded slice into shared memory, for all to read.
void storeSlice() {
    barrier(); // the slice before has been read
    [[unroll]] for (uint j = 0; j < A_ITEMS; j++) {
        uvec4 v = aInside[j] ? bits8(aValue(j, 0), aValue(j, 1)) : uvec4(0);
        if (aRow(j) < TILE_ROWS) tile[aRow(j) * STRIDE + gl_LocalInvocationIndex % SLICE8] = v;
    }
    if (8 * pairColumn() < TILE_COLS) storePair(B_AT, bNext[0], bNext[1], bNext[2], bNext[3]);
    barrier();
}

void main() {
    uint part = gl_WorkGroupID.y;
    uint K4 = p.K / 4, col = gl_WorkGroupID.x * OUT_WIDTH + outColumn();
    bool own = col < K4;
    uint first = part * p.tiles * TILE_ROWS;
    uint last = min(first + p.tiles * TILE_ROWS, p.M);
    uint gemmK = p.R * p.S * p.C;
    vec4 b = BIAS && own ? bias[col] : vec4(0.0);
    float count = 0.0;
    vec4 mean = vec4(0.0), m2 = vec4(0.0);

    for (uint m0 = first; m0 < last; m0 += TILE_ROWS) {
        clearTile();
        [[unroll]] for (uint j = 0; j < A_ITEMS; j++) px[j] = pixelOf(min(m0 + aRow(j), p.M - 1));
        for (uint next = 0; next < gemmK + SLICE; next += SLICE) {
            if (next > 0) storeSlice();
            if (next < gemmK) loadSlice(next);
            if (next > 0) multiplySlice();
        }
        [[unroll]] for (uint i = 0; i < TILES_M; i++) {
            storeBand(i);
            vec4 v[BAND_EACH], sum = vec4(0.0);
            float rows = 0.0;
            [[unroll]] for (uint j = 0; j < BAND_EACH; j++) {
                uint row = bandRow(j), m = m0 + i * BAND_ROWS + row;
                v[j] = actValue(ACT_OUT, bandValue(row) + b);
                if (row < BAND_ROWS && m < last && own) {
                    if (ADD) v[j] += load4(add[m * K4 + col]);
                    y[m * K4 + col] = store4(v[j]);
                    sum += v[j];
                    rows += 1.0;
                }
            }
            if (STATS && rows > 0.0) {
                vec4 bandMean = sum / rows, bandM2 = vec4(0.0);
                [[unroll]] for (uint j = 0; j < BAND_EACH; j++) {
                    uint row = bandRow(j);
                    vec4 d = v[j] - bandMean;
                    if (row < BAND_ROWS && m0 + i * BAND_ROWS + row < last) bandM2 += d * d;
                }
                mergeStats(count, mean, m2, rows, bandMean, bandM2);
                count += rows;
            }
        }
    }

    if (STATS) {
        // Rows of invocations are merged in order.
        uint at = gl_LocalInvocationIndex;
        barrier();
        tile[at] = floatBitsToUint(mean);
        tile[THREADS + at] = floatBitsToUint(m2);
        tile[2 * THREADS + at] = uvec4(floatBitsToUint(count));
        barrier();
        if (at < OUT_WIDTH && own) {
            for (uint lane = 1; lane < LANES_M; lane++) {
                uint from = at + lane * OUT_WIDTH;
                float n = uintBitsToFloat(tile[2 * THREADS + from].x);
                if (n > 0.0) {
                    mergeStats(count, mean, m2, n, uintBitsToFloat(tile[from]), uintBitsToFloat(tile[THREADS + from]));
                    count += n;
                }
            }
            uint o = (p.part0 + part) * 2 * p.K + 4 * col;
            [[unroll]] for (uint e = 0; e < 4; e++) {
                stats[o + e] = mean[e];
                stats[o + p.K + e] = m2[e];
            }
            if (col == 0) stats[p.parts * 2 * p.K + p.part0 + part] = float(last - first);
        }
    }
}
