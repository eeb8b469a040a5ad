// GEMM tiles of the convolutions on cooperative matrices (VK_KHR_cooperative_matrix): 16 bits in, f32 sums.
//
// A workgroup is SUBGROUPS_M x SUBGROUPS_N full subgroups and owns a tile of TILE_ROWS x TILE_COLS outputs; a subgroup owns
// TILES_M x TILES_N matrices of MAT_M x MAT_N of it. A slice of SLICE of gemmK lies in shared memory as A [TILE_ROWS][SLICE] and
// B [TILE_COLS][SLICE] of 16 bits, 8 to an uvec4: what the units of AMD and NVIDIA want of both, gemmK contiguous. The tile
// leaves in TILES_M bands of BAND_ROWS rows, each through shared memory as float32: an invocation takes a vec4 of
// neighbouring columns of every LANES_M-th row.
//
// Requires THREADS = SUBGROUPS_M*SUBGROUPS_N*the subgroup size, which the call requires of the driver; MAT_K 8, 16 or 32;
// MAT_N % 8 == 0; THREADS % 32 == 0, THREADS >= 2*TILE_COLS, TILE_COLS % 16 == 0.
// kernels/coopmat.go computes the same sizes.
#include "matrix.glsl"

layout(local_size_x = 128, local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 128;
layout(constant_id = 1) const uint SUBGROUPS_M = 2;
layout(constant_id = 2) const uint SUBGROUPS_N = 2;
layout(constant_id = 3) const uint TILES_M = 2;
layout(constant_id = 4) const uint TILES_N = 2;
layout(constant_id = 5) const uint MAT_M = 16;
layout(constant_id = 6) const uint MAT_N = 16;
layout(constant_id = 7) const uint MAT_K = 16;
const uint SLICE = 32;

#define CEIL_DIV(a, b) (((a) + (b) - 1) / (b))

const uint BAND_ROWS = SUBGROUPS_M * MAT_M;
const uint TILE_ROWS = TILES_M * BAND_ROWS;
const uint TILE_COLS = SUBGROUPS_N * TILES_N * MAT_N;

// Rows of shared memory, in uvec4: the last is padding, so that rows lie in different banks.
const uint SLICE8 = SLICE / 8, STRIDE = SLICE8 + 1;
const uint OUT_WIDTH = TILE_COLS / 4, OUT_STRIDE = OUT_WIDTH + 1;
const uint B_AT = TILE_ROWS * STRIDE;
const uint SLICE_SIZE = B_AT + TILE_COLS * STRIDE;
const uint BAND_SIZE = BAND_ROWS * OUT_STRIDE;
const uint SUMS_SIZE = 3 * THREADS; // a reduction takes up to 3 vec4 of every invocation
const uint TILE_SIZE = SLICE_SIZE > BAND_SIZE ? SLICE_SIZE : BAND_SIZE;
shared uvec4 tile[TILE_SIZE > SUMS_SIZE ? TILE_SIZE : SUMS_SIZE];

const uint LANES_M = THREADS / OUT_WIDTH;
const uint BAND_EACH = CEIL_DIV(BAND_ROWS, LANES_M); // rows of a band that an invocation takes

// An operand whose rows of gemmK lie together in memory is loaded by pairs of them, of 8 neighbouring columns: at most one
// pair an invocation, 2*pairRow() and the next row, columns 8*pairColumn() and on. Two invocations share 32 contiguous bytes;
// sixteen write to different banks, as more that differed in the column only would not.
uint pairRow() { return gl_LocalInvocationIndex / 2 % (SLICE / 2); }
uint pairColumn() { return gl_LocalInvocationIndex / SLICE * 2 + gl_LocalInvocationIndex % 2; }

uint outColumn() { return gl_LocalInvocationIndex % OUT_WIDTH; }
// bandRow returns the row of a band, its j-th, that the invocation takes; BAND_ROWS or more: none.
uint bandRow(uint j) {
    uint lane = gl_LocalInvocationIndex / OUT_WIDTH;
    return lane < LANES_M ? lane + j * LANES_M : BAND_ROWS;
}

// Puts a pair into the rows at `at` of shared memory: 8 columns of its first row in a0 and a1, those of its second in b0 and b1.
void storePair(uint at, E4 a0, E4 a1, E4 b0, E4 b1) {
    at += 8 * pairColumn() * STRIDE + pairRow() / 4;
    uint part = pairRow() % 4;
    [[unroll]] for (uint e = 0; e < 4; e++) {
        tile[at + e * STRIDE][part] = PACK_BITS(E2(a0[e], b0[e]));
        tile[at + (4 + e) * STRIDE][part] = PACK_BITS(E2(a1[e], b1[e]));
    }
}

coopmat<float, gl_ScopeSubgroup, MAT_M, MAT_N, gl_MatrixUseAccumulator> acc[TILES_M * TILES_N];

void clearTile() {
    [[unroll]] for (uint i = 0; i < TILES_M * TILES_N; i++) {
        acc[i] = coopmat<float, gl_ScopeSubgroup, MAT_M, MAT_N, gl_MatrixUseAccumulator>(0.0);
    }
}

void multiplySlice() {
    uint sm = gl_SubgroupID / SUBGROUPS_N, sn = gl_SubgroupID % SUBGROUPS_N;
    [[unroll]] for (uint k = 0; k < SLICE; k += MAT_K) {
        coopmat<MAT_T, gl_ScopeSubgroup, MAT_K, MAT_N, gl_MatrixUseB> b[TILES_N];
        [[unroll]] for (uint j = 0; j < TILES_N; j++) {
            uint row = (sn * TILES_N + j) * MAT_N;
            coopMatLoad(b[j], tile, B_AT + row * STRIDE + k / 8, STRIDE, gl_CooperativeMatrixLayoutColumnMajor);
        }
        [[unroll]] for (uint i = 0; i < TILES_M; i++) {
            coopmat<MAT_T, gl_ScopeSubgroup, MAT_M, MAT_K, gl_MatrixUseA> a;
            uint row = i * BAND_ROWS + sm * MAT_M;
            coopMatLoad(a, tile, row * STRIDE + k / 8, STRIDE, gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (uint j = 0; j < TILES_N; j++) acc[i * TILES_N + j] = coopMatMulAdd(a, b[j], acc[i * TILES_N + j]);
        }
    }
}

// Puts band i of the tile into shared memory, for all to read with bandValue.
void storeBand(uint i) {
    barrier(); // what lies there has been read
    uint at = gl_SubgroupID / SUBGROUPS_N * MAT_M * OUT_STRIDE + gl_SubgroupID % SUBGROUPS_N * TILES_N * (MAT_N / 4);
    [[unroll]] for (uint j = 0; j < TILES_N; j++) {
        coopMatStore(acc[i * TILES_N + j], tile, at + j * (MAT_N / 4), OUT_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
    }
    barrier();
}

// bandValue returns the columns that the invocation owns of one row, 0 if that is none.
vec4 bandValue(uint row) { return row < BAND_ROWS ? uintBitsToFloat(tile[row * OUT_STRIDE + outColumn()]) : vec4(0.0); }
