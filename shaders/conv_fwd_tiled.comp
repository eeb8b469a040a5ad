#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// Dense convolution, forward: y[n,p,q,k] = act(sum_{r,s,c} value(x)[n, p*stride+r-padTop, q*stride+s-padLeft, c] * wt[r,s,c,k]
// + bias[k]) + add[n,p,q,k].
// x [N H W C], wt [R S C K], bias [K], add and y [N P Q K]; overwrites y. With STATS also stats: [parts][2][K] (mean and
// M2 of what the part wrote) followed by [parts] row counts.
// Requires K % 8 == 0 and C % 8 == 0, or any C with STEM defined.
// Implicit GEMM, gemmM = N*P*Q, gemmN = K, gemmK = R*S*C; tiles in shared memory (conv_rows.glsl), at most 14 KiB. A
// workgroup walks `tiles` row tiles. The next slice is loaded while this one is multiplied.
// CPU twin: tests/ref/conv.go.
#include "conv_rows.glsl"
layout(constant_id = 3) const bool STATS = false;
layout(constant_id = 4) const bool BIAS = false;
layout(constant_id = 5) const bool ADD = false;
layout(constant_id = 6) const uint ACT_OUT = 0;
#ifdef STEM
#define X_WIDTH 1
#else
#define X_WIDTH 4
#endif
#define PENDING_WIDTH X_WIDTH
#define PENDING_ID 7
#define PENDING_BINDING 1
#include "pending.glsl"
#include "conv_fwd.glsl"
layout(std430, set = 0, binding = 0) readonly buffer XBuf { PENDING_E x[]; };
layout(std430, set = 0, binding = 3) readonly buffer WtBuf { E4 wt[]; };
layout(std430, set = 0, binding = 4) readonly buffer BiasBuf { vec4 bias[]; };
layout(std430, set = 0, binding = 5) readonly buffer AddBuf { E4 add[]; };
layout(std430, set = 0, binding = 6) writeonly buffer YBuf { E4 y[]; };
layout(std430, set = 0, binding = 7) writeonly buffer StatsBuf { float stats[]; };

Pixel px[A_ITEMS];

// Value of column k of gemmK, counted in PENDING_T, for one pixel.
PENDING_T loadValue(Pixel q, uint k, InChannel ch, uint r, uint s, uint c, uint CT) {
    int off = tapOffset(q, r, s);
#ifndef STEM
    off >>= 2;
#endif
    PENDING_T v = inValue(PENDING_LOAD(x[max(off, 0) + c]), ch, p.n0 + q.n, c, CT);
    return off < 0 || k >= p.R * p.S * CT ? PENDING_T(0.0) : v;
}

void loadSlice(uint k0) {
    uint kq = gl_LocalInvocationIndex % SLICE4;
#ifdef STEM
    [[unroll]] for (uint e = 0; e < 4; e++) {
        uint k = k0 + 4 * kq + e, CT = p.C;
#else
        uint k = k0 / 4 + kq, CT = p.C / 4;
#endif
        uint rs = k / CT, c = k - rs * CT;
        uint r = rs / p.S, s = rs - r * p.S;
        InChannel ch = inChannel(c, CT);
#ifdef STEM
        [[unroll]] for (uint j = 0; j < A_ITEMS; j++) aNext[j][e] = loadValue(px[j], k, ch, r, s, c, CT);
    }
#else
        [[unroll]] for (uint j = 0; j < A_ITEMS; j++) aNext[j] = loadValue(px[j], k, ch, r, s, c, CT);
#endif
    uint col = gl_WorkGroupID.x * THREADS_N + gl_LocalInvocationID.x, K4 = p.K / 4;
    [[unroll]] for (uint j = 0; j < B_ITEMS; j++) {
        uint row = k0 + gl_LocalInvocationID.y + j * THREADS_M;
        bNext[j] = row < p.R * p.S * p.C && col < K4 ? load4(wt[row * K4 + col]) : vec4(0.0);
    }
}

void main() {
    uint part = gl_WorkGroupID.y;
    uint K4 = p.K / 4, col = gl_WorkGroupID.x * THREADS_N + gl_LocalInvocationID.x;
    bool own = col < K4;
    uint first = part * p.tiles * TILE_ROWS;
    uint last = min(first + p.tiles * TILE_ROWS, p.M);
    uint gemmK = p.R * p.S * p.C;
    vec4 b = BIAS && own ? bias[col] : vec4(0.0);
    float count = 0.0;
    vec4 mean = vec4(0.0), m2 = vec4(0.0);

    for (uint m0 = first; m0 < last; m0 += TILE_ROWS) {
        [[unroll]] for (uint i = 0; i < TILE_M; i++) acc[i] = vec4(0.0);
        [[unroll]] for (uint j = 0; j < A_ITEMS; j++) px[j] = pixelOf(min(m0 + rowOfItem(j), p.M - 1));
        for (uint next = 0; next < gemmK + SLICE; next += SLICE) {
            if (next > 0) storeSlice();
            if (next < gemmK) loadSlice(next);
            if (next > 0) multiplySlice();
        }
        vec4 sum = vec4(0.0);
        float rows = 0.0;
        [[unroll]] for (uint i = 0; i < TILE_M; i++) {
            uint m = m0 + rowOf(i);
            vec4 v = actValue(ACT_OUT, acc[i] + b);
            if (m < last && own) {
                if (ADD) v += load4(add[m * K4 + col]);
                y[m * K4 + col] = store4(v);
                sum += v;
                rows += 1.0;
            }
            acc[i] = v;
        }
        if (STATS && rows > 0.0) {
            vec4 tileMean = sum / rows, tileM2 = vec4(0.0);
            [[unroll]] for (uint i = 0; i < TILE_M; i++) {
                vec4 d = acc[i] - tileMean;
                if (m0 + rowOf(i) < last) tileM2 += d * d;
            }
            mergeStats(count, mean, m2, rows, tileMean, tileM2);
            count += rows;
        }
    }

    if (STATS) {
        // Rows of invocations are merged in order.
        uint at = gl_LocalInvocationIndex;
        barrier();
        tile[at] = mean;
        tile[THREADS + at] = m2;
        tile[2 * THREADS + at] = vec4(count);
        barrier();
        if (gl_LocalInvocationID.y == 0 && own) {
            for (uint ty = 1; ty < THREADS_M; ty++) {
                uint from = at + ty * THREADS_N;
                float n = tile[2 * THREADS + from].x;
                if (n > 0.0) {
                    mergeStats(count, mean, m2, n, tile[from], tile[THREADS + from]);
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
