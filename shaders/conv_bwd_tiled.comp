#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// 1x1 convolution of stride 1, both gradients in one pass over dy and x:
//   du[m,c] = sum_k dy[m,k] * w[k,c]     goes to the sink (sink.glsl), which overwrites dx and writes partial sums
//   dw[k,c] = sum_m dy[m,k] * v[m,c]     v = act(z)*gate[n,c], the value of x; overwrites dw [splits][K][C]
// for pixels m (conv_bwd.glsl); dy is built on load (gradin.glsl). conv_wgrad_reduce adds the splits.
// g and y [N H W K], w [K C], dx and x [N H W C], gate [N][C] if SINK_SE. K is a constant.
// Requires C % 8 == 0, K % 8 == 0, K/4 <= THREADS; THREADS_M % SPLIT_K == 0; a sink that takes sums.
// A workgroup owns 4*THREADS_N columns c and all k. For a tile of TILE_ROWS pixels, dy [TILE_ROWS][K] is built in shared
// memory once. Then invocation (tx, ty) sums, for vec4 column tx, TILE_M rows of du over every SPLIT_K-th
// vec4 of k, and after the sink, which also yields v, adds to its share of dw: k/4 = ty, ty + THREADS_M, ..., in registers
// until the walk ends. Shared: 16*(TILE_ROWS*(K/4 + 1) + THREADS*TILE_M) bytes, at least 48*THREADS.
// CPU twin: tests/ref/conv.go.
layout(local_size_x = 16, local_size_x_id = 0, local_size_y = 16, local_size_y_id = 1) in;
layout(constant_id = 0) const uint THREADS_N = 16;
layout(constant_id = 1) const uint THREADS_M = 16;
layout(constant_id = 2) const uint TILE_M = 4;
layout(constant_id = 3) const uint SPLIT_K = 4;
layout(constant_id = 4) const uint K = 256;
#define DY_WIDTH 4
#define DY_ID 5
#define DY_BINDING 0
#include "gradin.glsl"
#define SINK_WIDTH 4
#define SINK_ID 10
#define SINK_BINDING 7
#include "sink.glsl"
#include "conv_bwd.glsl"
layout(std430, set = 0, binding = 6) readonly buffer WBuf { vec4 w[]; };
layout(std430, set = 0, binding = 13) readonly buffer GateBuf { vec4 gate[]; };
layout(std430, set = 0, binding = 14) writeonly buffer DwBuf { vec4 dw[]; };

#define CEIL_DIV(a, b) (((a) + (b) - 1) / (b))
const uint THREADS = THREADS_N * THREADS_M;
const uint K4 = K / 4;
const uint ROW_GROUPS = THREADS_M / SPLIT_K; // invocations of a column that sum different rows of du
const uint TILE_ROWS = ROW_GROUPS * TILE_M;
const uint DY_STRIDE = K4 + 1; // a row is padded, so that rows lie in different banks
const uint DU_AT = TILE_ROWS * DY_STRIDE;
const uint TILE_SIZE = DU_AT + THREADS * TILE_M;
const uint SUMS_SIZE = 3 * THREADS;
const uint LOAD_ROWS = THREADS / K4;                 // rows of dy that are loaded together; an invocation loads one k
const uint SINK_TILES = CEIL_DIV(TILE_ROWS, THREADS_M); // rows that an invocation gives to the sink
const uint DW_TILES = CEIL_DIV(K4, THREADS_M);

// dy [TILE_ROWS][K4], then the partial sums of du [SPLIT_K][TILE_ROWS][THREADS_N], over whose first v is written.
shared vec4 tile[TILE_SIZE > SUMS_SIZE ? TILE_SIZE : SUMS_SIZE];
vec4 acc[DW_TILES * 4]; // dw

uint C4() { return p.C / 4; }
uint tx() { return gl_LocalInvocationID.x; }
uint ty() { return gl_LocalInvocationID.y; }
uint column() { return gl_WorkGroupID.x * THREADS_N + tx(); }
uint duAt(uint row) { return DU_AT + row * THREADS_N + tx(); }

// Builds dy of pixels m0 .. m0 + TILE_ROWS, zeros from `last` on.
void loadDy(uint m0, uint last) {
    uint k = gl_LocalInvocationIndex % K4, first = gl_LocalInvocationIndex / K4;
    if (first >= LOAD_ROWS) return;
    DyChannel ch = dyChannel(k, K4);
    [[unroll]] for (uint i = 0; i < CEIL_DIV(TILE_ROWS, LOAD_ROWS); i++) {
        uint row = first + i * LOAD_ROWS;
        if (row < TILE_ROWS) {
            uint m = min(m0 + row, last - 1);
            vec4 v = dyValue(m * K4 + k, ch, p.n0 + m / p.HW, k, K4);
            tile[row * DY_STRIDE + k] = m0 + row < last ? v : vec4(0.0);
        }
    }
}

// Sums du over this invocation's share of k.
void multiplyDu() {
    uint group = ty() / ROW_GROUPS, first = ty() % ROW_GROUPS, col = min(column(), C4() - 1);
    vec4 du[TILE_M];
    [[unroll]] for (uint i = 0; i < TILE_M; i++) du[i] = vec4(0.0);
    for (uint k = group; k < K4; k += SPLIT_K) {
        uint at = 4 * k * C4() + col;
        vec4 w0 = w[at], w1 = w[at + C4()], w2 = w[at + 2 * C4()], w3 = w[at + 3 * C4()];
        [[unroll]] for (uint i = 0; i < TILE_M; i++) {
            vec4 a = tile[(first + i * ROW_GROUPS) * DY_STRIDE + k];
            du[i] = fma(vec4(a.x), w0, fma(vec4(a.y), w1, fma(vec4(a.z), w2, fma(vec4(a.w), w3, du[i]))));
        }
    }
    [[unroll]] for (uint i = 0; i < TILE_M; i++) tile[duAt(group * TILE_ROWS + first + i * ROW_GROUPS)] = du[i];
}

// Gives du to the sink and leaves v in its place.
void sinkTile(uint m0, uint last, inout SinkSums sum) {
    bool own = column() < C4();
    uint col = min(column(), C4() - 1);
    SinkChannel ch = sinkChannel(col, C4());
    [[unroll]] for (uint i = 0; i < SINK_TILES; i++) {
        uint row = ty() + i * THREADS_M, m = m0 + row;
        if (row < TILE_ROWS) {
            vec4 v = vec4(0.0);
            if (m < last && own) {
                vec4 du = tile[duAt(row)];
                [[unroll]] for (uint s = 1; s < SPLIT_K; s++) du += tile[duAt(s * TILE_ROWS + row)];
                uint n = p.n0 + m / p.HW;
                v = sinkStore(du, m * C4() + col, n, ch, sum);
                if (SINK_SE) v *= gate[n * C4() + col];
            }
            tile[duAt(row)] = v;
        }
    }
}

// Adds the tile's products to dw.
void multiplyDw() {
    for (uint row = 0; row < TILE_ROWS; row++) {
        vec4 v = tile[duAt(row)];
        [[unroll]] for (uint i = 0; i < DW_TILES; i++) {
            vec4 a = tile[row * DY_STRIDE + min(ty() + i * THREADS_M, K4 - 1)];
            acc[4 * i] = fma(vec4(a.x), v, acc[4 * i]);
            acc[4 * i + 1] = fma(vec4(a.y), v, acc[4 * i + 1]);
            acc[4 * i + 2] = fma(vec4(a.z), v, acc[4 * i + 2]);
            acc[4 * i + 3] = fma(vec4(a.w), v, acc[4 * i + 3]);
        }
    }
}

// Adds the sums of the rows of invocations, in order, and stores them.
void storeSums(SinkSums sum, uint row) {
    uint at = gl_LocalInvocationIndex;
    tile[at] = sum.s0;
    tile[THREADS + at] = sum.s1;
    if (SINK_SE) tile[2 * THREADS + at] = sum.s2;
    barrier();
    if (ty() == 0 && column() < C4()) {
        for (uint y = 1; y < THREADS_M; y++) {
            uint from = at + y * THREADS_N;
            sum.s0 += tile[from];
            sum.s1 += tile[THREADS + from];
            if (SINK_SE) sum.s2 += tile[2 * THREADS + from];
        }
        sinkWrite(sum, row, column(), C4());
    }
    barrier();
}

void main() {
    [[unroll]] for (uint i = 0; i < DW_TILES * 4; i++) acc[i] = vec4(0.0);
    for (uint run = firstRun(); run < lastRun(); run++) {
        Run r = runOf(run, TILE_ROWS);
        SinkSums sum = sinkZero();
        for (uint m = r.first; m < r.last; m += TILE_ROWS) {
            loadDy(m, r.last);
            barrier();
            multiplyDu();
            barrier();
            sinkTile(m, r.last, sum);
            barrier();
            multiplyDw();
            barrier();
        }
        storeSums(sum, p.part0 + run);
    }
    [[unroll]] for (uint i = 0; i < DW_TILES * 4; i++) {
        uint k = 4 * (ty() + i / 4 * THREADS_M) + i % 4;
        if (k < K && column() < C4()) dw[((p.split0 + gl_WorkGroupID.y) * K + k) * C4() + column()] = acc[i];
    }
}
