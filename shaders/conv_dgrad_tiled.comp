#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// Dense convolution, gradient with respect to its input: du[n,h,w,c] = sum_{r,s,k} dy[n,p,q,k] * w[k,r,s,c] over the taps
// with p*stride + r - padTop = h and q*stride + s - padLeft = w; dy is built on load (gradin.glsl), du goes to the sink
// (sink.glsl), which overwrites dx and writes partial sums.
// g and y [N P Q K], w [K R S C], dx [N H W C].
// Requires C % 8 == 0, K % 8 == 0.
// Implicit GEMM per class of input pixels (conv_dgrad.glsl), gemmN = C, gemmK = taps*K; tiles in shared memory
// (conv_rows.glsl), at most 14 KiB. A workgroup walks `tiles` row tiles. The next slice is loaded while this one is
// multiplied.
// CPU twin: tests/ref/conv.go.
#include "conv_rows.glsl"
#define DY_WIDTH 4
#define DY_ID 3
#define DY_BINDING 0
#include "gradin.glsl"
#define SINK_WIDTH 4
#define SINK_ID 8
#define SINK_BINDING 7
#include "sink.glsl"
#include "conv_dgrad.glsl"
layout(std430, set = 0, binding = 6) readonly buffer WBuf { vec4 w[]; };

Pixel px[A_ITEMS];

void loadSlice(Class cl, uint tapsW, uint gemmK, uint k0) {
    uint K4 = p.K / 4;
    uint kk = k0 / 4 + gl_LocalInvocationIndex % SLICE4;
    uint t = kk / K4, k = kk - t * K4;
    uint r = cl.r0 + t / tapsW * p.stride, s = cl.s0 + t % tapsW * p.stride;
    DyChannel ch = dyChannel(k, K4);
    [[unroll]] for (uint j = 0; j < A_ITEMS; j++) {
        int off = tapOffset(cl, px[j], r, s) >> 2;
        vec4 v = dyValue(max(off, 0) + k, ch, p.n0 + px[j].n, k, K4);
        aNext[j] = off < 0 || 4 * kk >= gemmK ? vec4(0.0) : v;
    }
    uint C4 = p.C / 4, col = gl_WorkGroupID.x * THREADS_N + gl_LocalInvocationID.x;
    [[unroll]] for (uint j = 0; j < B_ITEMS; j++) {
        uint row = k0 + gl_LocalInvocationID.y + j * THREADS_M;
        t = row / p.K;
        r = cl.r0 + t / tapsW * p.stride;
        s = cl.s0 + t % tapsW * p.stride;
        bNext[j] = row < gemmK && col < C4 ? w[(((row - t * p.K) * p.R + r) * p.S + s) * C4 + col] : vec4(0.0);
    }
}

void main() {
    Class cl = classOf(gl_WorkGroupID.z);
    uint part = gl_WorkGroupID.y % p.parts, segment = gl_WorkGroupID.y / p.parts;
    uint rows = segmentImages() * cl.H * cl.W;
    uint tapsH = cl.r0 < p.R ? CEIL_DIV(p.R - cl.r0, p.stride) : 0, tapsW = cl.s0 < p.S ? CEIL_DIV(p.S - cl.s0, p.stride) : 0;
    uint gemmK = tapsH * tapsW * p.K;
    uint C4 = p.C / 4, col = gl_WorkGroupID.x * THREADS_N + gl_LocalInvocationID.x;
    bool own = col < C4;
    uint first = part * p.tiles * TILE_ROWS;
    uint last = min(first + p.tiles * TILE_ROWS, rows);
    SinkChannel sc = sinkChannel(min(col, C4 - 1), C4);
    SinkSums sum = sinkZero();

    for (uint m0 = first; m0 < last; m0 += TILE_ROWS) {
        [[unroll]] for (uint i = 0; i < TILE_M; i++) acc[i] = vec4(0.0);
        [[unroll]] for (uint j = 0; j < A_ITEMS; j++) px[j] = pixelOf(cl, segment, min(m0 + rowOfItem(j), rows - 1));
        for (uint next = 0; next < gemmK + SLICE; next += SLICE) {
            if (next > 0) storeSlice();
            if (next < gemmK) loadSlice(cl, tapsW, gemmK, next);
            if (next > 0) multiplySlice();
        }
        [[unroll]] for (uint i = 0; i < TILE_M; i++) {
            uint m = m0 + rowOf(i);
            if (m < last && own) {
                Pixel q = pixelOf(cl, segment, m);
                sinkStore(acc[i], pixelOffset(cl, q) / 4 + col, p.n0 + q.n, sc, sum);
            }
        }
    }

    if (SINK_SUMS) {
        // Rows of invocations are added in order.
        uint at = gl_LocalInvocationIndex;
        barrier();
        tile[at] = sum.s0;
        tile[THREADS + at] = sum.s1;
        if (SINK_SE) tile[2 * THREADS + at] = sum.s2;
        barrier();
        if (gl_LocalInvocationID.y == 0 && own) {
            for (uint ty = 1; ty < THREADS_M; ty++) {
                uint from = at + ty * THREADS_N;
                sum.s0 += tile[from];
                sum.s1 += tile[THREADS + from];
                if (SINK_SE) sum.s2 += tile[2 * THREADS + from];
            }
            sinkWrite(sum, sumsRow(segment, part), col, C4);
        }
    }
}
