#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// 1x1 convolution of stride 1, both gradients in one pass over dy and x, as conv_bwd_tiled.comp computes them, on cooperative
// matrices: dy, w and v are rounded to the 16 bits of the storage type before the products, sums are float32.
//   du[m,c] = sum_k dy[m,k] * w[k,c]     goes to the sink (sink.glsl), which overwrites dx and writes partial sums
//   dw[k,c] = sum_m dy[m,k] * v[m,c]     v = act(z)*gate[n,c], the value of x; overwrites dw [splits][K][C]
// for pixels m (conv_bwd.glsl); dy is built on load (gradin.glsl). conv_wgrad_reduce adds the splits.
// g and y [N H W K], w [K C], dx and x [N H W C], gate [N][C] if SINK_SE. K is a constant.
// Requires C % 8 == 0, K % 8 == 0; THREADS = SUBGROUPS * the subgroup size, which the call requires of the driver;
// MAT_M, MAT_N and MAT_K multiples of 8, TILE_ROWS of MAT_M and of MAT_K, TILE_COLS of MAT_N;
// THREADS % (TILE_COLS/8) == 0, KP/8 <= THREADS; a sink that takes sums.
// A workgroup owns TILE_COLS columns c and all k. w [KP][TILE_COLS] lies in shared memory for the whole walk, KP being K rounded up
// to whole matrices; for a tile of TILE_ROWS pixels, dy [TILE_ROWS][KP] is built there once. The matrices of du, of which
// every subgroup computes its share over all k, leave through shared memory as float32: an invocation gives 8
// neighbouring columns of a pixel to the sink and puts v in their place. dw stays in the subgroups' accumulators until the
// walk ends. kernels/conv_bwd_coopmat.go computes the same sizes. CPU twin: tests/ref/conv.go.
#include "matrix.glsl"
layout(local_size_x = 128, local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 128;
layout(constant_id = 1) const uint SUBGROUPS = 4;
layout(constant_id = 2) const uint MAT_M = 16;
layout(constant_id = 3) const uint MAT_N = 16;
layout(constant_id = 4) const uint MAT_K = 16;
layout(constant_id = 5) const uint TILE_ROWS = 32;
layout(constant_id = 6) const uint TILE_COLS = 64;
layout(constant_id = 7) const uint K = 64;
#define DY_WIDTH 4
#define DY_ID 8
#define DY_BINDING 0
#include "gradin.glsl"
#define SINK_WIDTH 4
#define SINK_ID 13
#define SINK_BINDING 7
#include "sink.glsl"
#include "conv_bwd.glsl"
layout(std430, set = 0, binding = 6) readonly buffer WBuf { vec4 w[]; };
layout(std430, set = 0, binding = 13) readonly buffer GateBuf { vec4 gate[]; };
layout(std430, set = 0, binding = 14) writeonly buffer DwBuf { vec4 dw[]; };

#define CEIL_DIV(a, b) (((a) + (b) - 1) / (b))
const uint MAT_MAX = MAT_M > MAT_K ? MAT_M : MAT_K;
const uint KP = CEIL_DIV(K, MAT_MAX) * MAT_MAX;
const uint K4 = K / 4;

// Shared memory in uvec4, 8 values of 16 bits or 4 of 32; the last of a row is padding, so that rows lie in different banks.
const uint DY_STRIDE = KP / 8 + 1;
const uint COLS8 = TILE_COLS / 8;
const uint V_STRIDE = COLS8 + 1; // of w too
const uint DU_STRIDE = TILE_COLS / 4 + 1;
const uint W_AT = TILE_ROWS * DY_STRIDE;
const uint OUT_AT = W_AT + KP * V_STRIDE;
const uint DU_SIZE = TILE_ROWS * DU_STRIDE; // du, then v
const uint SUMS_SIZE = 3 * THREADS;         // a reduction takes up to 3 vec4 of every invocation
const uint MATS_SIZE = SUBGROUPS * MAT_M * MAT_N / 4; // a matrix of dw of every subgroup
const uint OUT_MOST = SUMS_SIZE > MATS_SIZE ? SUMS_SIZE : MATS_SIZE;
const uint OUT_SIZE = DU_SIZE > OUT_MOST ? DU_SIZE : OUT_MOST;
shared uvec4 tile[OUT_AT + OUT_SIZE];

const uint MATS_N = TILE_COLS / MAT_N;
const uint DU_MATS = TILE_ROWS / MAT_M * MATS_N, DU_EACH = CEIL_DIV(DU_MATS, SUBGROUPS);
const uint DW_MATS = KP / MAT_M * MATS_N, DW_EACH = CEIL_DIV(DW_MATS, SUBGROUPS);
const uint LOAD_ROWS = THREADS / (KP / 8);                 // rows of dy that are loaded together; an invocation loads 8 k
const uint SINK_ROWS_STEP = THREADS / COLS8;               // rows that are given to the sink together
const uint SINK_EACH = CEIL_DIV(TILE_ROWS, SINK_ROWS_STEP); // rows that an invocation gives to the sink

#define ACC coopmat<float, gl_ScopeSubgroup, MAT_M, MAT_N, gl_MatrixUseAccumulator>
#define MAT_A coopmat<MAT_T, gl_ScopeSubgroup, MAT_M, MAT_K, gl_MatrixUseA>
#define MAT_B coopmat<MAT_T, gl_ScopeSubgroup, MAT_K, MAT_N, gl_MatrixUseB>
ACC acc[DW_EACH]; // dw: matrix e*SUBGROUPS + gl_SubgroupID of [KP/MAT_M][MATS_N]

uint C4() { return p.C / 4; }
uint column() { return 2 * (gl_WorkGroupID.x * COLS8 + gl_LocalInvocationIndex % COLS8); } // vec4, the first of two
bool own() { return column() < C4(); }
uint sinkRow(uint i) { return gl_LocalInvocationIndex / COLS8 + i * SINK_ROWS_STEP; }

void loadW() {
    for (uint i = gl_LocalInvocationIndex; i < KP * COLS8; i += THREADS) {
        uint k = i / COLS8, col = column(); // THREADS % COLS8 == 0: the invocation's own columns
        uint at = k * C4() + col;
        bool inside = k < K && own();
        uvec4 v = uvec4(0);
        if (inside) v = bits8(store4(w[at]), store4(w[at + 1]));
        tile[W_AT + k * V_STRIDE + i % COLS8] = v;
    }
}

// Builds dy of pixels m0 .. m0 + TILE_ROWS, zeros from `last` on and from K on.
void loadDy(uint m0, uint last) {
    uint k8 = gl_LocalInvocationIndex % (KP / 8), first = gl_LocalInvocationIndex / (KP / 8);
    uint k = min(2 * k8, K4 - 2);
    DyChannel lo = dyChannel(k, K4), hi = dyChannel(k + 1, K4);
    [[unroll]] for (uint i = 0; i < CEIL_DIV(TILE_ROWS, LOAD_ROWS); i++) {
        uint row = first + i * LOAD_ROWS;
        if (first < LOAD_ROWS && row < TILE_ROWS) {
            uint m = min(m0 + row, last - 1), n = p.n0 + m / p.HW;
            uvec4 v = bits8(store4(dyValue(m * K4 + k, lo, n, k, K4)), store4(dyValue(m * K4 + k + 1, hi, n, k + 1, K4)));
            tile[row * DY_STRIDE + k8] = m0 + row < last && 8 * k8 < K ? v : uvec4(0);
        }
    }
}

void multiplyDu() {
    [[unroll]] for (uint e = 0; e < DU_EACH; e++) {
        uint id = e * SUBGROUPS + gl_SubgroupID;
        if (id < DU_MATS) {
            uint row = id / MATS_N * MAT_M, col = id % MATS_N * MAT_N;
            ACC du = ACC(0.0);
            for (uint k = 0; k < KP; k += MAT_K) {
                MAT_A a;
                MAT_B b;
                coopMatLoad(a, tile, row * DY_STRIDE + k / 8, DY_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
                coopMatLoad(b, tile, W_AT + k * V_STRIDE + col / 8, V_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
                du = coopMatMulAdd(a, b, du);
            }
            coopMatStore(du, tile, OUT_AT + row * DU_STRIDE + col / 4, DU_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
        }
    }
}

// Gives du to the sink and leaves v in its place.
void sinkTile(uint m0, uint last, inout SinkSums sum[2]) {
    SinkChannel ch[2];
    uint col = min(column(), C4() - 2);
    ch[0] = sinkChannel(col, C4());
    ch[1] = sinkChannel(col + 1, C4());
    uvec4 v[SINK_EACH];
    [[unroll]] for (uint i = 0; i < SINK_EACH; i++) {
        uint row = sinkRow(i), m = m0 + row;
        v[i] = uvec4(0);
        if (row < TILE_ROWS && m < last && own()) {
            uint n = p.n0 + m / p.HW;
            vec4 u[2];
            [[unroll]] for (uint h = 0; h < 2; h++) {
                vec4 du = uintBitsToFloat(tile[OUT_AT + row * DU_STRIDE + 2 * (gl_LocalInvocationIndex % COLS8) + h]);
                u[h] = sinkStore(du, m * C4() + col + h, n, ch[h], sum[h]);
                if (SINK_SE) u[h] *= gate[n * C4() + col + h];
            }
            v[i] = bits8(store4(u[0]), store4(u[1]));
        }
    }
    barrier(); // du has been read
    [[unroll]] for (uint i = 0; i < SINK_EACH; i++) {
        if (sinkRow(i) < TILE_ROWS) tile[OUT_AT + sinkRow(i) * V_STRIDE + gl_LocalInvocationIndex % COLS8] = v[i];
    }
}

// Adds the tile's products to dw.
void multiplyDw() {
    [[unroll]] for (uint e = 0; e < DW_EACH; e++) {
        uint id = e * SUBGROUPS + gl_SubgroupID;
        if (id < DW_MATS) {
            uint k = id / MATS_N * MAT_M, col = id % MATS_N * MAT_N;
            for (uint row = 0; row < TILE_ROWS; row += MAT_K) {
                MAT_A a;
                MAT_B b;
                coopMatLoad(a, tile, row * DY_STRIDE + k / 8, DY_STRIDE, gl_CooperativeMatrixLayoutColumnMajor);
                coopMatLoad(b, tile, OUT_AT + row * V_STRIDE + col / 8, V_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
                acc[e] = coopMatMulAdd(a, b, acc[e]);
            }
        }
    }
}

// Adds the sums of the invocations that share columns, in order, and stores them, one half of the columns after the other.
void storeSums(SinkSums sum[2], uint row) {
    uint at = OUT_AT + gl_LocalInvocationIndex;
    [[unroll]] for (uint h = 0; h < 2; h++) {
        tile[at] = floatBitsToUint(sum[h].s0);
        tile[at + THREADS] = floatBitsToUint(sum[h].s1);
        if (SINK_SE) tile[at + 2 * THREADS] = floatBitsToUint(sum[h].s2);
        barrier();
        if (gl_LocalInvocationIndex < COLS8 && own()) {
            for (uint from = at + COLS8; from < OUT_AT + THREADS; from += COLS8) {
                sum[h].s0 += uintBitsToFloat(tile[from]);
                sum[h].s1 += uintBitsToFloat(tile[from + THREADS]);
                if (SINK_SE) sum[h].s2 += uintBitsToFloat(tile[from + 2 * THREADS]);
            }
            sinkWrite(sum[h], row, column() + h, C4());
        }
        barrier();
    }
}

// Writes dw, a matrix of every subgroup at a time.
void storeDw() {
    const uint MAT4 = MAT_N / 4;
    uint lane = gl_SubgroupInvocationID;
    uint at = OUT_AT + gl_SubgroupID * MAT_M * MAT4;
    [[unroll]] for (uint e = 0; e < DW_EACH; e++) {
        uint id = e * SUBGROUPS + gl_SubgroupID;
        barrier();
        coopMatStore(acc[e], tile, at, MAT4, gl_CooperativeMatrixLayoutRowMajor);
        barrier();
        for (uint i = lane; i < MAT_M * MAT4; i += THREADS / SUBGROUPS) {
            uint k = id / MATS_N * MAT_M + i / MAT4, col = gl_WorkGroupID.x * TILE_COLS / 4 + id % MATS_N * MAT4 + i % MAT4;
            if (id < DW_MATS && k < K && col < C4()) {
                dw[((p.split0 + gl_WorkGroupID.y) * K + k) * C4() + col] = uintBitsToFloat(tile[at + i]);
            }
        }
    }
}

void main() {
    [[unroll]] for (uint e = 0; e < DW_EACH; e++) acc[e] = ACC(0.0);
    loadW();
    for (uint run = firstRun(); run < lastRun(); run++) {
        Run r = runOf(run, TILE_ROWS);
        SinkSums sum[2] = SinkSums[2](sinkZero(), sinkZero());
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
    storeDw();
}
