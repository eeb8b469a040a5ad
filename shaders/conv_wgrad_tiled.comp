#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// Dense convolution, gradient with respect to its weights:
// dw[k,r,s,c] = sum_{n,p,q} dy[n,p,q,k] * value(x)[n, p*stride+r-padTop, q*stride+s-padLeft, c].
// x [N H W C], g and y [N P Q K] (dy is built on load, gradin.glsl) -> dw [splits][K R S C]; overwrites it. Each split
// sums a run of pixels; conv_wgrad_reduce adds the splits.
// Requires K % 8 == 0 and C % 8 == 0, or any C with STEM defined; TILE_M % 4 == 0; THREADS % (TILE_ROWS/4) == 0. POINT: 1x1, stride 1.
// GEMM, gemmM = K, gemmN = R*S*C, gemmK = N*P*Q, in slices of pixels: A [SLICE][TILE_ROWS] of dy and
// B [SLICE][4*THREADS_N] of x in shared memory, at most 12 KiB. The next slice is loaded while this one is multiplied.
// CPU twin: tests/ref/conv.go.
#include "conv_tile.glsl"
layout(constant_id = 3) const bool POINT = false;
#ifdef STEM
#define X_WIDTH 1
#else
#define X_WIDTH 4
#endif
#define DY_WIDTH 4
#define DY_ID 4
#define DY_BINDING 0
#include "gradin.glsl"
#define PENDING_WIDTH X_WIDTH
#define PENDING_ID 9
#define PENDING_BINDING 7
#include "pending.glsl"
#include "conv_wgrad.glsl"
layout(std430, set = 0, binding = 6) readonly buffer XBuf { PENDING_E x[]; };
layout(std430, set = 0, binding = 9) writeonly buffer DwBuf { PENDING_T dw[]; };

const uint ROWS4 = TILE_ROWS / 4;
const uint A_ITEMS = CEIL_DIV(SLICE * ROWS4, THREADS);
const uint B_ITEMS = CEIL_DIV(SLICE, THREADS_M);
const uint B_AT = SLICE * ROWS4;
#ifdef STEM
const uint TAPS = 4; // columns of one vec4 that have taps of their own
#else
const uint TAPS = 1;
#endif
shared vec4 tile[B_AT + SLICE * THREADS_N];

vec4 acc[TILE_M];
vec4 aNext[A_ITEMS], bNext[B_ITEMS]; // the next slice, loaded while this one is multiplied
uint k4; // the vec4 of k that this invocation loads
DyChannel dc;
Tap tap[TAPS]; // the columns that it loads; c counts in PENDING_T
InChannel xc[TAPS];

PENDING_T loadValue(uint e, uint m, uint n, uint row, uint q) {
#ifdef STEM
    uint CT = p.C;
    int off = tapOffset(tap[e], n, row, q);
#else
    uint CT = p.C / 4;
    int off = POINT ? int(m * CT) : tapOffset(tap[e], n, row, q) >> 2;
#endif
    PENDING_T v = inValue(PENDING_LOAD(x[max(off, 0) + tap[e].c]), xc[e], p.n0 + n, tap[e].c, CT);
    return off < 0 ? PENDING_T(0.0) : v;
}

void loadSlice(uint m0, uint last) {
    uint pq = p.P * p.Q, K4 = p.K / 4;
    [[unroll]] for (uint j = 0; j < A_ITEMS; j++) {
        uint m = m0 + (gl_LocalInvocationIndex + j * THREADS) / ROWS4;
        uint at = min(m, last - 1);
        vec4 v = dyValue(at * K4 + k4, dc, p.n0 + at / pq, k4, K4);
        aNext[j] = m < last ? v : vec4(0.0);
    }
    [[unroll]] for (uint j = 0; j < B_ITEMS; j++) {
        uint m = m0 + gl_LocalInvocationID.y + j * THREADS_M;
        uint at = min(m, last - 1);
        uint n = at / pq, rest = at - n * pq;
        uint row = rest / p.Q, q = rest - row * p.Q;
#ifdef STEM
        vec4 v;
        [[unroll]] for (uint e = 0; e < TAPS; e++) v[e] = loadValue(e, at, n, row, q);
#else
        vec4 v = loadValue(0, at, n, row, q);
#endif
        bNext[j] = m < last ? v : vec4(0.0);
    }
}

void storeSlice() {
    barrier(); // the slice before has been read
    [[unroll]] for (uint j = 0; j < A_ITEMS; j++) {
        uint at = gl_LocalInvocationIndex + j * THREADS;
        if (at < B_AT) tile[at] = aNext[j];
    }
    [[unroll]] for (uint j = 0; j < B_ITEMS; j++) {
        uint m = gl_LocalInvocationID.y + j * THREADS_M;
        if (m < SLICE) tile[B_AT + m * THREADS_N + gl_LocalInvocationID.x] = bNext[j];
    }
    barrier();
}

void multiplySlice() {
    for (uint m = 0; m < SLICE; m++) {
        vec4 b = tile[B_AT + m * THREADS_N + gl_LocalInvocationID.x];
        [[unroll]] for (uint i = 0; i < TILE_M / 4; i++) {
            vec4 a = tile[m * ROWS4 + gl_LocalInvocationID.y + i * THREADS_M];
            acc[4 * i] = fma(vec4(a.x), b, acc[4 * i]);
            acc[4 * i + 1] = fma(vec4(a.y), b, acc[4 * i + 1]);
            acc[4 * i + 2] = fma(vec4(a.z), b, acc[4 * i + 2]);
            acc[4 * i + 3] = fma(vec4(a.w), b, acc[4 * i + 3]);
        }
    }
}

void main() {
    uint tx = gl_LocalInvocationID.x, ty = gl_LocalInvocationID.y;
    uint rsc = p.R * p.S * p.C, K4 = p.K / 4;
    uint col = 4 * (gl_WorkGroupID.x * THREADS_N + tx);
    k4 = min(gl_WorkGroupID.y * ROWS4 + gl_LocalInvocationIndex % ROWS4, K4 - 1);
    dc = dyChannel(k4, K4);
    [[unroll]] for (uint e = 0; e < TAPS; e++) {
        tap[e] = tapOf(min(col + e, rsc - 1));
#ifdef STEM
        xc[e] = inChannel(tap[e].c, p.C);
#else
        tap[e].c /= 4;
        xc[e] = inChannel(tap[e].c, p.C / 4);
#endif
    }
    [[unroll]] for (uint i = 0; i < TILE_M; i++) acc[i] = vec4(0.0);

    uint first = gl_WorkGroupID.z * p.rows, last = min(first + p.rows, p.M);
    for (uint next = first; next < last + SLICE; next += SLICE) {
        if (next > first) storeSlice();
        if (next < last) loadSlice(next, last);
        if (next > first) multiplySlice();
    }

    [[unroll]] for (uint i = 0; i < TILE_M; i++) {
        uint k = 4 * (gl_WorkGroupID.y * ROWS4 + ty + i / 4 * THREADS_M) + i % 4;
        uint row = ((p.split0 + gl_WorkGroupID.z) * p.K + k) * rsc;
        if (k < p.K) {
#ifdef STEM
            [[unroll]] for (uint e = 0; e < 4; e++) {
                if (col + e < rsc) dw[row + col + e] = acc[i][e];
            }
#else
            if (col < rsc) dw[(row + col) / 4] = acc[i];
#endif
        }
    }
}
