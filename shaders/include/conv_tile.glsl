// Shared-memory tiles of the tiled convolutions: rows x columns of a GEMM, gemmK in slices of SLICE.
// A workgroup is THREADS_N x THREADS_M invocations; invocation (tx, ty) owns 4 neighbouring columns, vec4 column tx, of
// TILE_M rows. TILE_ROWS x 4*THREADS_N outputs per workgroup. One shared array serves tiles and reductions.
layout(local_size_x = 16, local_size_x_id = 0, local_size_y = 8, local_size_y_id = 1) in;
layout(constant_id = 0) const uint THREADS_N = 16;
layout(constant_id = 1) const uint THREADS_M = 8;
layout(constant_id = 2) const uint TILE_M = 8;

const uint THREADS = THREADS_N * THREADS_M;
const uint TILE_ROWS = THREADS_M * TILE_M;
const uint SLICE = 16;
const uint SLICE4 = SLICE / 4;

#define CEIL_DIV(a, b) (((a) + (b) - 1) / (b))
