#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
// Dense convolution, gradient with respect to its weights:
// dw[k,r,s,c] = sum_{n,p,q} dy[n,p,q,k] * value(x)[n, p*stride+r-padTop, q*stride+s-padLeft, c].
// x [N H W C], g and y [N P Q K] (dy is built on load, gradin.glsl) -> dw [splits][K R S C]; overwrites it. Each split
// sums a run of pixels; conv_wgrad_reduce adds the splits.
// Requires K % 8 == 0; LANES 4 or 8, at most the subgroup size; TILE_K % LANES == 0. POINT: 1x1, stride 1.
// GEMM, gemmM = K, gemmN = R*S*C, gemmK = N*P*Q. A workgroup is one (part of a) subgroup: it owns TILE_K channels k and
// TILE_N*LANES columns (r,s,c); an invocation owns columns lane + t*LANES. dy is loaded with lanes along K and
// reaches the other lanes by shuffles. No shared memory.
// CPU twin: tests/ref/conv.go.
layout(local_size_x = 8, local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8;
layout(constant_id = 1) const uint TILE_K = 16;
layout(constant_id = 2) const uint TILE_N = 2;
layout(constant_id = 3) const bool POINT = false;
#define DY_WIDTH 1
#define DY_ID 4
#define DY_BINDING 0
#include "gradin.glsl"
#define PENDING_WIDTH 1
#define PENDING_ID 9
#define PENDING_BINDING 7
#include "pending.glsl"
#include "conv_wgrad.glsl"
layout(std430, set = 0, binding = 6) readonly buffer XBuf { E1 x[]; };
layout(std430, set = 0, binding = 9) writeonly buffer DwBuf { float dw[]; };

const uint GROUPS = TILE_K / LANES;

void main() {
    uint lane = gl_SubgroupInvocationID;
    uint rsc = p.R * p.S * p.C, pq = p.P * p.Q;
    uint k[GROUPS];
    DyChannel dc[GROUPS];
    [[unroll]] for (uint g = 0; g < GROUPS; g++) {
        k[g] = min((gl_WorkGroupID.y * GROUPS + g) * LANES + lane, p.K - 1);
        dc[g] = dyChannel(k[g], p.K);
    }
    Tap tap[TILE_N];
    InChannel xc[TILE_N];
    [[unroll]] for (uint t = 0; t < TILE_N; t++) {
        tap[t] = tapOf(min((gl_WorkGroupID.x * TILE_N + t) * LANES + lane, rsc - 1));
        xc[t] = inChannel(tap[t].c, p.C);
    }
    float acc[TILE_K * TILE_N];
    [[unroll]] for (uint i = 0; i < TILE_K * TILE_N; i++) acc[i] = 0.0;

    uint m = gl_WorkGroupID.z * p.rows, last = min(m + p.rows, p.M);
    while (m < last) {
        uint n = m / pq;
        DyImage di[GROUPS];
        float gate[TILE_N];
        [[unroll]] for (uint g = 0; g < GROUPS; g++) di[g] = dyImage(p.n0 + n, k[g], p.K);
        [[unroll]] for (uint t = 0; t < TILE_N; t++) gate[t] = inGateOf(p.n0 + n, tap[t].c, p.C);
        uint rest = m - n * pq;
        uint row = rest / p.Q, q = rest - row * p.Q;
        for (uint end = min(last, (n + 1) * pq); m < end; m++) {
            float b[TILE_N];
            [[unroll]] for (uint t = 0; t < TILE_N; t++) {
                int off = POINT ? int(m * p.C) : tapOffset(tap[t], n, row, q);
                float v = inGated(load1(x[max(off, 0) + tap[t].c]), xc[t], gate[t]);
                b[t] = off < 0 ? 0.0 : v;
            }
            [[unroll]] for (uint g = 0; g < GROUPS; g++) {
                float a = dyOf(m * p.K + k[g], dc[g], di[g]);
                [[unroll]] for (uint j = 0; j < LANES; j++) {
                    float v = subgroupShuffle(a, j);
                    [[unroll]] for (uint t = 0; t < TILE_N; t++) {
                        uint i = (g * LANES + j) * TILE_N + t;
                        acc[i] = fma(v, b[t], acc[i]);
                    }
                }
            }
            q++;
            if (q == p.Q) {
                q = 0;
                row++;
            }
        }
    }

    // Row by row, in a loop that drivers need not unroll; the rows move up through row 0.
    uint k0 = gl_WorkGroupID.y * TILE_K;
    for (uint kk = k0; kk < min(k0 + TILE_K, p.K); kk++) {
        [[unroll]] for (uint t = 0; t < TILE_N; t++) {
            uint column = (gl_WorkGroupID.x * TILE_N + t) * LANES + lane;
            if (column < rsc) dw[((p.split0 + gl_WorkGroupID.z) * p.K + kk) * rsc + column] = acc[t];
        }
        [[unroll]] for (uint i = 0; i < (TILE_K - 1) * TILE_N; i++) acc[i] = acc[i + TILE_N];
    }
}
