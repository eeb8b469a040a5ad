#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
// Dense convolution, gradient with respect to its weights:
// dw[k,r,s,c] = sum_{n,p,q} dy[n,p,q,k] * x[n, p*stride+r-padTop, q*stride+s-padLeft, c].
// x [N H W C] with nothing pending, dy [N P Q K] (complete: nothing to build on load), zeros [max(C, K)] -> dw
// [splits][K R S C]; overwrites it. Each split sums a run of output rows, or of pixels if POINT (1x1, stride 1);
// conv_wgrad_reduce adds the splits.
// Requires C % 8 == 0, K % 8 == 0, TILE_M % 4 == 0, TILE_M <= K, rows % Q == 0 unless POINT; subgroups of 8.
// GEMM, gemmM = K, gemmN = R*S*C, gemmK = N*P*Q. A workgroup is one subgroup: it owns TILE_M channels k and TILE_N*8
// columns (r,s,c); an invocation owns columns lane + 8*t. What lies in the padding is read from zeros. See uniform.glsl.
// CPU twin: tests/ref/conv.go.
layout(local_size_x = 8) in;
layout(constant_id = 0) const uint TILE_M = 12;
layout(constant_id = 1) const uint TILE_N = 2;
layout(constant_id = 2) const bool POINT = false;
#include "uniform.glsl"
#define POINTERS uint unused; Eight x, dy, zeros;
#include "conv_wgrad.glsl"
layout(std430, set = 0, binding = 0) writeonly buffer DwBuf { float dw[]; };

const uint STEP = 8; // pixels whose products are added in one go

// Adds the products of a pixel: dy at a, the x of column group t at b[t].
void multiply1(uint64_t a, uint64_t b[TILE_N]) {
    float w[TILE_N];
    [[unroll]] for (uint t = 0; t < TILE_N; t++) w[t] = lanes8(b[t]);
    [[unroll]] for (uint i = 0; i < TILE_M; i++) {
        vec4 v = Eight(a + 16 * (i / 4)).lo;
        [[unroll]] for (uint t = 0; t < TILE_N; t++) acc[i * TILE_N + t] = fma(v[i & 3], w[t], acc[i * TILE_N + t]);
    }
}

void main() {
    uint rsc = p.R * p.S * p.C;
    uint k0 = gl_WorkGroupID.y * TILE_M, k = min(k0, p.K - TILE_M);
    uint64_t zeros = uint64_t(p.zeros), x = uint64_t(p.x), dy = uint64_t(p.dy) + 4 * k;
    uint column[TILE_N];
    Tap tap[TILE_N];
    [[unroll]] for (uint t = 0; t < TILE_N; t++) {
        column[t] = (gl_WorkGroupID.x * TILE_N + t) * 8;
        tap[t] = tapOf(min(column[t], rsc - 8));
    }
    [[unroll]] for (uint i = 0; i < TILE_M * TILE_N; i++) acc[i] = 0.0;

    uint first = gl_WorkGroupID.z * p.rows, last = min(first + p.rows, p.M);
    if (POINT) {
        uint m0 = first;
        do {
            [[unroll]] for (uint e = 0; e < STEP; e++) {
                uint m = m0 + e;
                uint64_t b[TILE_N];
                [[unroll]] for (uint t = 0; t < TILE_N; t++) b[t] = m < last ? x + 4 * (m * p.C + tap[t].c) : zeros;
                multiply1(m < last ? dy + 4 * (m * p.K) : zeros, b);
            }
            m0 += STEP;
        } while (m0 < last);
    } else {
        uint line = first / p.Q;
        do {
            uint n = line / p.P;
            uint row = line - n * p.P;
            uint64_t lineAt[TILE_N]; // of the input line that the tap meets, channel c
            bool inside[TILE_N];
            [[unroll]] for (uint t = 0; t < TILE_N; t++) {
                uint h = row * p.stride + tap[t].r - p.padTop; // wraps below 0
                inside[t] = h < p.H;
                lineAt[t] = x + 4 * ((n * p.H + h) * p.W * p.C + tap[t].c);
            }
            uint q0 = 0;
            do {
                [[unroll]] for (uint e = 0; e < STEP; e++) {
                    uint q = q0 + e;
                    uint64_t b[TILE_N];
                    [[unroll]] for (uint t = 0; t < TILE_N; t++) {
                        uint w = q * p.stride + tap[t].s - p.padLeft;
                        b[t] = inside[t] && w < p.W ? lineAt[t] + 4 * (w * p.C) : zeros;
                    }
                    multiply1(q < p.Q ? dy + 4 * ((line * p.Q + q) * p.K) : zeros, b);
                }
                q0 += STEP;
            } while (q0 < p.Q);
            line++;
        } while (line * p.Q < last);
    }

    uint lane = gl_SubgroupInvocationID;
    [[unroll]] for (uint i = 0; i < TILE_M; i++) {
        uint kk = k + i;
        [[unroll]] for (uint t = 0; t < TILE_N; t++) {
            if (kk >= k0 && column[t] < rsc) dw[((p.split0 + gl_WorkGroupID.z) * p.K + kk) * rsc + column[t] + lane] = acc[i * TILE_N + t];
        }
    }
}
