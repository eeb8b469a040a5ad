#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
// 1x1 convolution of stride 1, both gradients in one pass over dy and x:
//   du[m,c] = sum_k dy[m,k] * w[k,c]     goes to the sink (sink.glsl), which overwrites dx and writes partial sums
//   dw[k,c] = sum_m dy[m,k] * v[m,c]     v = act(z)*gate[n,c], the value of x; overwrites dw [splits][K][C]
// for pixels m (conv_bwd.glsl); dy is built on load (gradin.glsl). conv_wgrad_reduce adds the splits.
// g and y [N H W K], w [K C], dx and x [N H W C], gate [N][C] if SINK_SE. K is a constant.
// Requires C % 8 == 0, K % 8 == 0; LANES 4 or 8, at most the subgroup size; TILE_M % LANES == 0; a sink that takes sums.
// A workgroup is one (part of a) subgroup: it owns TILE_N*LANES columns c and all k, an invocation columns lane + t*LANES.
// dy of a tile of TILE_M pixels is built in shared memory once, with lanes along K, read there with lanes along the pixels, and
// reaches the other lanes by shuffles; du and v of the tile are in registers, dw in shared memory. Shared: 4*K*(TILE_M + TILE_N*LANES) bytes.
// CPU twin: tests/ref/conv.go.
layout(local_size_x = 8, local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8;
layout(constant_id = 1) const uint TILE_M = 16;
layout(constant_id = 2) const uint TILE_N = 2;
layout(constant_id = 3) const uint K = 256;
#define DY_WIDTH 1
#define DY_ID 4
#define DY_BINDING 0
#include "gradin.glsl"
#define SINK_WIDTH 1
#define SINK_ID 9
#define SINK_BINDING 7
#include "sink.glsl"
#include "conv_bwd.glsl"
layout(std430, set = 0, binding = 6) readonly buffer WBuf { float w[]; };
layout(std430, set = 0, binding = 13) readonly buffer GateBuf { float gate[]; };
layout(std430, set = 0, binding = 14) writeonly buffer DwBuf { float dw[]; };

const uint GROUPS = TILE_M / LANES;
shared float dyTile[K * TILE_M];            // [K][TILE_M]
shared float dwTile[K * TILE_N * LANES];    // [K][TILE_N][LANES]

void main() {
    uint lane = gl_SubgroupInvocationID;
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
    [[dont_unroll]] for (uint i = 0; i < K * TILE_N; i++) dwTile[i * LANES + lane] = 0.0;

    // Runs follow each other in memory: tiles go on from one to the next, and sums leave where a run ends.
    uint run = firstRun(), last = runOf(lastRun() - 1, TILE_M).last;
    Run r = runOf(run, TILE_M);
    for (uint m0 = r.first; m0 < last; m0 += TILE_M) {
        subgroupBarrier(); // the tile before has been read
        [[dont_unroll]] for (uint k0 = 0; k0 < K; k0 += LANES) {
            uint k = k0 + lane;
            DyChannel ch = dyChannel(k, K);
            [[dont_unroll]] for (uint i0 = 0; i0 < TILE_M; i0 += 4) {
                [[unroll]] for (uint e = 0; e < 4; e++) {
                    uint m = m0 + i0 + e, at = min(m, last - 1);
                    float dy = dyValue(at * K + k, ch, p.n0 + at / p.HW, k, K);
                    dyTile[k * TILE_M + i0 + e] = m < last ? dy : 0.0;
                }
            }
        }
        subgroupBarrier();

        float acc[TILE_M * TILE_N]; // du, later v
        [[unroll]] for (uint i = 0; i < TILE_M * TILE_N; i++) acc[i] = 0.0;
        [[dont_unroll]] for (uint k = 0; k < K; k++) {
            float b[TILE_N];
            [[unroll]] for (uint t = 0; t < TILE_N; t++) b[t] = w[k * p.C + col[t]];
            float a[GROUPS];
            [[unroll]] for (uint g = 0; g < GROUPS; g++) a[g] = dyTile[k * TILE_M + g * LANES + lane];
            [[unroll]] for (uint i = 0; i < TILE_M; i++) {
                float v = subgroupShuffle(a[i / LANES], i % LANES);
                [[unroll]] for (uint t = 0; t < TILE_N; t++) acc[i * TILE_N + t] = fma(v, b[t], acc[i * TILE_N + t]);
            }
        }
        // Row by row, in a loop that drivers need not unroll: du leaves at the front and v enters at the end.
        [[dont_unroll]] for (uint m = m0; m < m0 + TILE_M; m++) {
            uint n = p.n0 + m / p.HW;
            float v[TILE_N];
            [[unroll]] for (uint t = 0; t < TILE_N; t++) {
                v[t] = 0.0;
                if (m < last && own[t]) {
                    v[t] = sinkStore(acc[t], m * p.C + col[t], n, sc[t], total[t]);
                    if (SINK_SE) v[t] *= gate[n * p.C + col[t]];
                }
            }
            [[unroll]] for (uint j = 0; j < (TILE_M - 1) * TILE_N; j++) acc[j] = acc[j + TILE_N];
            [[unroll]] for (uint t = 0; t < TILE_N; t++) acc[(TILE_M - 1) * TILE_N + t] = v[t];
            if (m + 1 == r.last && run < lastRun()) { // rows behind the last run belong to others
                [[unroll]] for (uint t = 0; t < TILE_N; t++) {
                    if (own[t]) sinkWrite(total[t], p.part0 + run, col[t], p.C);
                    total[t] = sinkZero();
                }
                r = runOf(++run, TILE_M);
            }
        }
        [[dont_unroll]] for (uint k = 0; k < K; k++) {
            uint at = k * TILE_N * LANES + lane;
            float s[TILE_N];
            [[unroll]] for (uint t = 0; t < TILE_N; t++) s[t] = dwTile[at + t * LANES];
            float a[GROUPS];
            [[unroll]] for (uint g = 0; g < GROUPS; g++) a[g] = dyTile[k * TILE_M + g * LANES + lane];
            [[unroll]] for (uint i = 0; i < TILE_M; i++) {
                float v = subgroupShuffle(a[i / LANES], i % LANES);
                [[unroll]] for (uint t = 0; t < TILE_N; t++) s[t] = fma(v, acc[i * TILE_N + t], s[t]);
            }
            [[unroll]] for (uint t = 0; t < TILE_N; t++) dwTile[at + t * LANES] = s[t];
        }
    }
    [[dont_unroll]] for (uint k = 0; k < K; k++) {
        [[unroll]] for (uint t = 0; t < TILE_N; t++) {
            if (own[t]) dw[((p.split0 + gl_WorkGroupID.y) * K + k) * p.C + col[t]] = dwTile[(k * TILE_N + t) * LANES + lane];
        }
    }
}
