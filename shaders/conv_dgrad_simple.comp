#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
// Dense convolution, gradient with respect to its input: du[n,h,w,c] = sum_{r,s,k} dy[n,p,q,k] * w[k,r,s,c] over the taps
// with p*stride + r - padTop = h and q*stride + s - padLeft = w; dy is built on load (gradin.glsl), du goes to the sink
// (sink.glsl), which overwrites dx and writes partial sums.
// g and y [N P Q K], w [K R S C], dx [N H W C].
// Requires C % 8 == 0, K % 8 == 0; LANES 4 or 8, at most the subgroup size; TILE_M % LANES == 0.
// Implicit GEMM per class of input pixels (conv_dgrad.glsl), gemmN = C, gemmK = taps*K. A workgroup is one (part of a)
// subgroup: it walks `tiles` tiles of TILE_M pixels and owns TILE_N*LANES channels; an invocation owns channels
// lane + t*LANES. Rows of dy are loaded with lanes along K and reach the other lanes by shuffles. No shared memory.
// CPU twin: tests/ref/conv.go.
layout(local_size_x = 8, local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8;
layout(constant_id = 1) const uint TILE_M = 16;
layout(constant_id = 2) const uint TILE_N = 2;
#define DY_WIDTH 1
#define DY_ID 3
#define DY_BINDING 0
#include "gradin.glsl"
#define SINK_WIDTH 1
#define SINK_ID 8
#define SINK_BINDING 7
#include "sink.glsl"
#include "conv_dgrad.glsl"
layout(std430, set = 0, binding = 6) readonly buffer WBuf { float w[]; };

const uint GROUPS = TILE_M / LANES; // rows whose coordinates one invocation keeps
const uint STEP = 4;                // rows of a slice that are loaded together

void main() {
    uint lane = gl_SubgroupInvocationID;
    Class cl = classOf(gl_WorkGroupID.z);
    uint part = gl_WorkGroupID.y % p.parts, segment = gl_WorkGroupID.y / p.parts;
    uint rows = segmentImages() * cl.H * cl.W;
    uint taps = p.R * p.S;
    uint col[TILE_N]; // clamped for loads
    bool own[TILE_N];
    SinkChannel sc[TILE_N];
    SinkSums total[TILE_N];
    [[unroll]] for (uint t = 0; t < TILE_N; t++) {
        uint c = (gl_WorkGroupID.x * TILE_N + t) * LANES + lane;
        own[t] = c < p.C;
        col[t] = min(c, p.C - 1);
        sc[t] = sinkChannel(col[t], p.C);
        total[t] = sinkZero();
    }
    uint first = part * p.tiles * TILE_M;
    uint last = min(first + p.tiles * TILE_M, rows);

    for (uint m0 = first; m0 < last; m0 += TILE_M) {
        float acc[TILE_M * TILE_N];
        [[unroll]] for (uint i = 0; i < TILE_M * TILE_N; i++) acc[i] = 0.0;
        Pixel px[GROUPS];
        [[unroll]] for (uint g = 0; g < GROUPS; g++) px[g] = pixelOf(cl, segment, min(m0 + g * LANES + lane, rows - 1));
        uint pixel[GROUPS];
        [[unroll]] for (uint g = 0; g < GROUPS; g++) pixel[g] = pixelOffset(cl, px[g]);
        for (uint r = cl.r0; r < p.R; r += p.stride) for (uint s = cl.s0; s < p.S; s += p.stride) {
            int tap[GROUPS];
            [[unroll]] for (uint g = 0; g < GROUPS; g++) tap[g] = tapOffset(cl, px[g], r, s);
            for (uint k0 = 0; k0 < p.K; k0 += LANES) {
                uint k = k0 + lane;
                DyChannel ch = dyChannel(k, p.K);
                float a[TILE_M]; // appended to in a loop that drivers need not unroll; what is appended moves up to its place
                [[unroll]] for (uint i = 0; i < TILE_M; i++) a[i] = 0.0;
                [[dont_unroll]] for (uint i0 = 0; i0 < TILE_M; i0 += STEP) {
                    int offs = tap[0];
                    uint images = px[0].n;
                    [[unroll]] for (uint g = 1; g < GROUPS; g++) {
                        if (i0 / LANES == g) {
                            offs = tap[g];
                            images = px[g].n;
                        }
                    }
                    [[unroll]] for (uint i = 0; i < TILE_M - STEP; i++) a[i] = a[i + STEP];
                    [[unroll]] for (uint e = 0; e < STEP; e++) {
                        uint i = i0 % LANES + e;
                        int off = subgroupShuffle(offs, i);
                        float v = dyValue(max(off, 0) + k, ch, p.n0 + subgroupShuffle(images, i), k, p.K);
                        a[TILE_M - STEP + e] = off < 0 ? 0.0 : v;
                    }
                }
                uint base = (k0 * taps + r * p.S + s) * p.C;
                [[dont_unroll]] for (uint j = 0; j < LANES; j++) {
                    float b[TILE_N];
                    [[unroll]] for (uint t = 0; t < TILE_N; t++) b[t] = w[base + col[t]];
                    base += taps * p.C;
                    [[unroll]] for (uint i = 0; i < TILE_M; i++) {
                        float v = subgroupShuffle(a[i], j);
                        [[unroll]] for (uint t = 0; t < TILE_N; t++) acc[i * TILE_N + t] = fma(v, b[t], acc[i * TILE_N + t]);
                    }
                }
            }
        }
        // The tile leaves row by row: a loop that drivers need not unroll, in which the rows move up through row 0.
        uint valid = min(TILE_M, rows - m0);
        for (uint i = 0; i < valid; i++) {
            uint n, at;
            [[unroll]] for (uint g = 0; g < GROUPS; g++) {
                if (i / LANES == g) {
                    n = subgroupShuffle(px[g].n, i % LANES);
                    at = subgroupShuffle(pixel[g], i % LANES);
                }
            }
            [[unroll]] for (uint t = 0; t < TILE_N; t++) {
                if (own[t]) sinkStore(acc[t], at + col[t], p.n0 + n, sc[t], total[t]);
            }
            [[unroll]] for (uint j = 0; j < (TILE_M - 1) * TILE_N; j++) acc[j] = acc[j + TILE_N];
        }
    }
    if (SINK_SUMS) {
        [[unroll]] for (uint t = 0; t < TILE_N; t++) {
            if (own[t]) sinkWrite(total[t], sumsRow(segment, part), col[t], p.C);
        }
    }
}
