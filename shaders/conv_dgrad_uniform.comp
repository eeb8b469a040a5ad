#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
// Dense convolution, gradient with respect to its input: du[n,h,w,c] = sum_{r,s,k} dy[n,p,q,k] * w[k,r,s,c] over the taps
// with p*stride + r - padTop = h and q*stride + s - padLeft = w; du goes to the sink (sink.glsl), which overwrites dx and
// writes partial sums.
// dy [N P Q K] (complete: nothing to build on load), w [K R S C], zeros [K], dx [N H W C].
// Requires C % 8 == 0, K % 8 == 0; subgroups of 8.
// Implicit GEMM per class of input pixels (conv_dgrad.glsl), gemmN = C, gemmK = taps*K. A workgroup is one subgroup: it
// walks `tiles` tiles of TILE_M pixels and owns TILE_N*8 channels; an invocation owns channels lane + 8*t. Taps that meet no
// output read zeros. See uniform.glsl.
// CPU twin: tests/ref/conv.go.
layout(local_size_x = 8) in;
layout(constant_id = 0) const uint TILE_M = 12;
layout(constant_id = 1) const uint TILE_N = 2;
#define SINK_WIDTH 1
#define SINK_ID 2
#define SINK_BINDING 0
#include "sink.glsl"
#include "uniform.glsl"
#define POINTERS Eight dy, w, zeros;
#include "conv_dgrad.glsl"

void main() {
    uint lane = gl_SubgroupInvocationID;
    Class cl = classOf(gl_WorkGroupID.z);
    uint part = gl_WorkGroupID.y % p.parts, segment = gl_WorkGroupID.y / p.parts;
    uint rows = segmentImages() * cl.H * cl.W;
    uint taps = p.R * p.S;
    uint64_t stride = 4 * uint64_t(taps * p.C); // between the rows of w
    uint64_t wAt[TILE_N];
    uint col[TILE_N]; // clamped for loads
    bool own[TILE_N];
    SinkChannel sc[TILE_N];
    SinkSums total[TILE_N];
    [[unroll]] for (uint t = 0; t < TILE_N; t++) {
        uint c = (gl_WorkGroupID.x * TILE_N + t) * 8;
        own[t] = c < p.C;
        c = min(c, p.C - 8);
        wAt[t] = uint64_t(p.w) + 4 * c;
        col[t] = c + lane;
        sc[t] = sinkChannel(col[t], p.C);
        total[t] = sinkZero();
    }
    uint first = part * p.tiles * TILE_M;
    uint last = min(first + p.tiles * TILE_M, rows);

    bool met = cl.r0 < p.R && cl.s0 < p.S; // by a tap
    uint m0 = first;
    if (first < last) do {
        [[unroll]] for (uint i = 0; i < TILE_M * TILE_N; i++) acc[i] = 0.0;
        Pixel px[TILE_M];
        [[unroll]] for (uint i = 0; i < TILE_M; i++) px[i] = pixelOf(cl, segment, min(m0 + i, rows - 1));
        uint r = cl.r0;
        if (met) do {
            uint s = cl.s0;
            do {
                uint64_t at[TILE_M], bt[TILE_N];
                [[unroll]] for (uint i = 0; i < TILE_M; i++) {
                    int off = tapOffset(cl, px[i], r, s);
                    at[i] = off < 0 ? uint64_t(p.zeros) : uint64_t(p.dy) + 4 * uint64_t(off);
                }
                [[unroll]] for (uint t = 0; t < TILE_N; t++) bt[t] = wAt[t] + 4 * uint64_t((r * p.S + s) * p.C);
                multiply(at, bt, stride, p.K);
                s += p.stride;
            } while (s < p.S);
            r += p.stride;
        } while (r < p.R);

        uint valid = min(TILE_M, rows - m0);
        [[unroll]] for (uint i = 0; i < TILE_M; i++) {
            uint at = pixelOffset(cl, px[i]);
            [[unroll]] for (uint t = 0; t < TILE_N; t++) {
                if (i < valid && own[t]) sinkStore(acc[i * TILE_N + t], at + col[t], p.n0 + px[i].n, sc[t], total[t]);
            }
        }
        m0 += TILE_M;
    } while (m0 < last);
    if (SINK_SUMS) {
        [[unroll]] for (uint t = 0; t < TILE_N; t++) {
            if (own[t]) sinkWrite(total[t], sumsRow(segment, part), col[t], p.C);
        }
    }
}
