#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
// Dense convolution, forward: y[n,p,q,k] = act(sum_{r,s,c} value(x)[n, p*stride+r-padTop, q*stride+s-padLeft, c] * wt[r,s,c,k]
// + bias[k]) + add[n,p,q,k].
// x [N H W C], wt [R S C K], bias [K], add and y [N P Q K]; overwrites y. With STATS also stats: [parts][2][K] (mean and
// M2 of what the part wrote) followed by [parts] row counts.
// Requires K % 8 == 0, C % 8 == 0 or FLAT; LANES 4 or 8, at most the subgroup size; TILE_M % LANES == 0.
// Implicit GEMM, gemmM = N*P*Q, gemmN = K, gemmK = R*S*C. A workgroup is one (part of a) subgroup: it walks `tiles` tiles
// of TILE_M rows and owns TILE_N*LANES columns; an invocation owns columns lane + t*LANES. Rows of x are loaded with
// lanes along C, so what is pending is applied once per element, and reach the other lanes by shuffles.
// No shared memory. FLAT takes lanes along the whole of (r,s,c), for the 3-channel stem.
// CPU twin: tests/ref/conv.go.
layout(local_size_x = 8, local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8;
layout(constant_id = 1) const uint TILE_M = 16;
layout(constant_id = 2) const uint TILE_N = 2;
layout(constant_id = 3) const bool FLAT = false;
layout(constant_id = 4) const bool STATS = false;
layout(constant_id = 5) const bool BIAS = false;
layout(constant_id = 6) const bool ADD = false;
layout(constant_id = 7) const uint ACT_OUT = 0;
#define PENDING_WIDTH 1
#define PENDING_ID 8
#define PENDING_BINDING 1
#include "pending.glsl"
#include "conv_fwd.glsl"
layout(std430, set = 0, binding = 0) readonly buffer XBuf { E1 x[]; };
layout(std430, set = 0, binding = 3) readonly buffer WtBuf { E1 wt[]; };
layout(std430, set = 0, binding = 4) readonly buffer BiasBuf { float bias[]; };
layout(std430, set = 0, binding = 5) readonly buffer AddBuf { E1 add[]; };
layout(std430, set = 0, binding = 6) writeonly buffer YBuf { E1 y[]; };
layout(std430, set = 0, binding = 7) writeonly buffer StatsBuf { float stats[]; };

const uint GROUPS = TILE_M / LANES; // rows whose coordinates one invocation keeps
const uint STEP = 4;                // rows of a slice that are loaded together

float acc[TILE_M * TILE_N];
float a[TILE_M]; // TILE_M rows of the LANES-wide slice of gemmK

// Appends the next STEP rows to a. Rows are loaded in a loop that drivers need not unroll, a third of the code; what is
// appended moves up to its place.
void push(float next[STEP]) {
    [[unroll]] for (uint i = 0; i < TILE_M - STEP; i++) a[i] = a[i + STEP];
    [[unroll]] for (uint e = 0; e < STEP; e++) a[TILE_M - STEP + e] = next[e];
}

// Adds the slice's product. Weight row j of the slice starts at wt[row + j*K]; rows from limit on hold no weights.
void multiply(uint row, uint limit, uint col[TILE_N]) {
    [[dont_unroll]] for (uint j = 0; j < LANES; j++) {
        uint base = min(row + j, limit - 1) * p.K;
        float b[TILE_N];
        [[unroll]] for (uint t = 0; t < TILE_N; t++) b[t] = load1(wt[base + col[t]]);
        [[unroll]] for (uint i = 0; i < TILE_M; i++) {
            float v = subgroupShuffle(a[i], j);
            [[unroll]] for (uint t = 0; t < TILE_N; t++) acc[i * TILE_N + t] = fma(v, b[t], acc[i * TILE_N + t]);
        }
    }
}

void main() {
    uint lane = gl_SubgroupInvocationID;
    uint part = gl_WorkGroupID.y;
    uint col[TILE_N]; // clamped for loads
    bool own[TILE_N];
    float b[TILE_N], mean[TILE_N], m2[TILE_N];
    [[unroll]] for (uint t = 0; t < TILE_N; t++) {
        uint k = (gl_WorkGroupID.x * TILE_N + t) * LANES + lane;
        own[t] = k < p.K;
        col[t] = min(k, p.K - 1);
        b[t] = BIAS ? bias[col[t]] : 0.0;
        mean[t] = 0.0;
        m2[t] = 0.0;
    }
    uint first = part * p.tiles * TILE_M;
    uint last = min(first + p.tiles * TILE_M, p.M);

    for (uint m0 = first; m0 < last; m0 += TILE_M) {
        [[unroll]] for (uint i = 0; i < TILE_M * TILE_N; i++) acc[i] = 0.0;
        Pixel px[GROUPS];
        [[unroll]] for (uint g = 0; g < GROUPS; g++) px[g] = pixelOf(min(m0 + g * LANES + lane, p.M - 1));

        if (FLAT) {
            uint rsc = p.R * p.S * p.C;
            for (uint k0 = 0; k0 < rsc; k0 += LANES) {
                uint k = k0 + lane;
                uint c = k % p.C, s = k / p.C % p.S, r = k / (p.C * p.S);
                InChannel ch = inChannel(c, p.C);
                [[dont_unroll]] for (uint i0 = 0; i0 < TILE_M; i0 += STEP) {
                    Pixel rows = px[0];
                    [[unroll]] for (uint g = 1; g < GROUPS; g++) if (i0 / LANES == g) rows = px[g];
                    float next[STEP];
                    [[unroll]] for (uint e = 0; e < STEP; e++) {
                        uint i = i0 % LANES + e;
                        Pixel q = Pixel(subgroupShuffle(rows.n, i), subgroupShuffle(rows.h, i), subgroupShuffle(rows.w, i));
                        int off = k < rsc ? tapOffset(q, r, s) : -1;
                        float v = inValue(load1(x[max(off, 0) + c]), ch, p.n0 + q.n, c, p.C);
                        next[e] = off < 0 ? 0.0 : v;
                    }
                    push(next);
                }
                multiply(k0, rsc, col);
            }
        } else {
            for (uint r = 0; r < p.R; r++) for (uint s = 0; s < p.S; s++) {
                int tap[GROUPS];
                [[unroll]] for (uint g = 0; g < GROUPS; g++) tap[g] = tapOffset(px[g], r, s);
                uint row = (r * p.S + s) * p.C;
                for (uint k0 = 0; k0 < p.C; k0 += LANES) {
                    uint c = k0 + lane;
                    InChannel ch = inChannel(c, p.C);
                    [[dont_unroll]] for (uint i0 = 0; i0 < TILE_M; i0 += STEP) {
                        int offs = tap[0];
                        uint images = px[0].n;
                        [[unroll]] for (uint g = 1; g < GROUPS; g++) {
                            if (i0 / LANES == g) {
                                offs = tap[g];
                                images = px[g].n;
                            }
                        }
                        float next[STEP];
                        [[unroll]] for (uint e = 0; e < STEP; e++) {
                            uint i = i0 % LANES + e;
                            int off = subgroupShuffle(offs, i);
                            float v = inValue(load1(x[max(off, 0) + c]), ch, p.n0 + subgroupShuffle(images, i), c, p.C);
                            next[e] = off < 0 ? 0.0 : v;
                        }
                        push(next);
                    }
                    multiply(row + k0, p.R * p.S * p.C, col);
                }
            }
        }

        // The tile leaves row by row: a loop that drivers need not unroll, in which the rows move up through row 0.
        uint rows = min(TILE_M, p.M - m0);
        float sum[TILE_N];
        [[unroll]] for (uint t = 0; t < TILE_N; t++) sum[t] = 0.0;
        [[dont_unroll]] for (uint i = 0; i < TILE_M; i++) {
            float row[TILE_N];
            [[unroll]] for (uint t = 0; t < TILE_N; t++) {
                float v = acc[t];
                if (BIAS) v += b[t];
                v = actValue(ACT_OUT, v);
                if (i < rows && own[t]) {
                    uint o = (m0 + i) * p.K + col[t];
                    if (ADD) v += load1(add[o]);
                    y[o] = store1(v);
                    sum[t] += v;
                }
                row[t] = v;
            }
            [[unroll]] for (uint j = 0; j < (TILE_M - 1) * TILE_N; j++) acc[j] = acc[j + TILE_N];
            [[unroll]] for (uint t = 0; t < TILE_N; t++) acc[(TILE_M - 1) * TILE_N + t] = row[t];
        }
        if (STATS) {
            [[unroll]] for (uint t = 0; t < TILE_N; t++) {
                float tileMean = sum[t] / float(rows), tileM2 = 0.0;
                [[unroll]] for (uint i = 0; i < TILE_M; i++) {
                    float d = acc[i * TILE_N + t] - tileMean;
                    if (i < rows) tileM2 += d * d;
                }
                mergeStats(float(m0 - first), mean[t], m2[t], float(rows), tileMean, tileM2);
            }
        }
    }

    if (STATS) {
        [[unroll]] for (uint t = 0; t < TILE_N; t++) {
            if (own[t]) {
                uint o = (p.part0 + part) * 2 * p.K + col[t];
                stats[o] = mean[t];
                stats[o + p.K] = m2[t];
            }
        }
        if (gl_WorkGroupID.x == 0 && lane == 0) stats[p.parts * 2 * p.K + p.part0 + part] = float(last - first);
    }
}
