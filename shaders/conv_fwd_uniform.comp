#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
// Dense convolution, forward: y[n,p,q,k] = act(sum_{r,s,c} x[n, p*stride+r-padTop, q*stride+s-padLeft, c] * wt[r,s,c,k]
// + bias[k]) + add[n,p,q,k].
// x [N H W C] with nothing pending, wt [R S C K], zeros [C], bias [K], add and y [N P Q K]; overwrites y. With STATS also
// stats: [parts][2][K] (mean and M2 of what the part wrote) followed by [parts] row counts.
// Requires K % 8 == 0, C % 8 == 0 or STEM (C == 3); subgroups of 8.
// Implicit GEMM, gemmM = N*P*Q, gemmN = K, gemmK = R*S*C. A workgroup is one subgroup: it walks `tiles` tiles of TILE_M
// rows and owns TILE_N*8 columns; an invocation owns columns lane + 8*t. Rows in the padding read zeros. See uniform.glsl.
// CPU twin: tests/ref/conv.go.
layout(local_size_x = 8) in;
layout(constant_id = 0) const uint TILE_M = 12;
layout(constant_id = 1) const uint TILE_N = 2;
layout(constant_id = 2) const bool STEM = false;
layout(constant_id = 3) const bool STATS = false;
layout(constant_id = 4) const bool BIAS = false;
layout(constant_id = 5) const bool ADD = false;
layout(constant_id = 6) const uint ACT_OUT = 0;
#include "act.glsl"
#include "uniform.glsl"
#define POINTERS Eight x, wt, zeros;
#include "conv_fwd.glsl"
layout(std430, set = 0, binding = 0) readonly buffer BiasBuf { float bias[]; };
layout(std430, set = 0, binding = 1) readonly buffer AddBuf { float add[]; };
layout(std430, set = 0, binding = 2) writeonly buffer YBuf { float y[]; };
layout(std430, set = 0, binding = 3) writeonly buffer StatsBuf { float stats[]; };

// multiply3 is multiply for the 3 channels of an image, whose pixels are not aligned.
void multiply3(uint64_t a[TILE_M], uint64_t b[TILE_N], uint64_t stride) {
    [[unroll]] for (uint c = 0; c < 3; c++) {
        float w[TILE_N];
        [[unroll]] for (uint t = 0; t < TILE_N; t++) w[t] = lanes8(b[t] + c * stride);
        [[unroll]] for (uint i = 0; i < TILE_M; i++) {
            float v = One(a[i] + 4 * c).v;
            [[unroll]] for (uint t = 0; t < TILE_N; t++) acc[i * TILE_N + t] = fma(v, w[t], acc[i * TILE_N + t]);
        }
    }
}

void main() {
    uint lane = gl_SubgroupInvocationID;
    uint part = gl_WorkGroupID.y;
    uint64_t stride = 4 * uint64_t(p.K); // between the rows of wt
    uint64_t wtAt[TILE_N];
    uint col[TILE_N]; // clamped for loads
    bool own[TILE_N];
    float b[TILE_N], mean[TILE_N], m2[TILE_N];
    [[unroll]] for (uint t = 0; t < TILE_N; t++) {
        uint k = (gl_WorkGroupID.x * TILE_N + t) * 8;
        own[t] = k < p.K;
        k = min(k, p.K - 8);
        wtAt[t] = uint64_t(p.wt) + 4 * k;
        col[t] = k + lane;
        b[t] = BIAS ? bias[col[t]] : 0.0;
        mean[t] = 0.0;
        m2[t] = 0.0;
    }
    uint first = part * p.tiles * TILE_M;
    uint last = min(first + p.tiles * TILE_M, p.M);

    uint m0 = first;
    do {
        [[unroll]] for (uint i = 0; i < TILE_M * TILE_N; i++) acc[i] = 0.0;
        Pixel px[TILE_M];
        [[unroll]] for (uint i = 0; i < TILE_M; i++) px[i] = pixelOf(min(m0 + i, p.M - 1));
        uint r = 0;
        do {
            uint s = 0;
            do {
                uint64_t at[TILE_M], bt[TILE_N];
                [[unroll]] for (uint i = 0; i < TILE_M; i++) {
                    int off = tapOffset(px[i], r, s);
                    at[i] = off < 0 ? uint64_t(p.zeros) : uint64_t(p.x) + 4 * uint64_t(off);
                }
                uint64_t row = stride * ((r * p.S + s) * p.C);
                [[unroll]] for (uint t = 0; t < TILE_N; t++) bt[t] = wtAt[t] + row;
                if (STEM) {
                    multiply3(at, bt, stride);
                } else {
                    multiply(at, bt, stride, p.C);
                }
            } while (++s < p.S);
        } while (++r < p.R);

        uint rows = min(TILE_M, p.M - m0);
        float sum[TILE_N];
        [[unroll]] for (uint t = 0; t < TILE_N; t++) sum[t] = 0.0;
        [[unroll]] for (uint i = 0; i < TILE_M; i++) {
            [[unroll]] for (uint t = 0; t < TILE_N; t++) {
                float v = acc[i * TILE_N + t];
                if (BIAS) v += b[t];
                v = actValue(ACT_OUT, v);
                if (i < rows && own[t]) {
                    uint o = (m0 + i) * p.K + col[t];
                    if (ADD) v += add[o];
                    y[o] = v;
                    sum[t] += v;
                }
                acc[i * TILE_N + t] = v;
            }
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
        m0 += TILE_M;
    } while (m0 < last);

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
