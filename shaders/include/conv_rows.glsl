// The tile of conv_fwd_tiled and conv_dgrad_tiled: A [TILE_ROWS][SLICE], k contiguous, and B [SLICE][4*THREADS_N].
#include "conv_tile.glsl"

const uint A_STRIDE = SLICE4 + 1; // a row is padded, so that rows lie in different banks
const uint B_AT = TILE_ROWS * A_STRIDE;
const uint TILE_SIZE = B_AT + SLICE * THREADS_N;
const uint SUMS_SIZE = 3 * THREADS; // a reduction takes up to 3 values of every invocation
shared vec4 tile[TILE_SIZE > SUMS_SIZE ? TILE_SIZE : SUMS_SIZE];

// How many vec4 of A and B an invocation loads per slice. THREADS % SLICE4 == 0, so that they are of one k.
const uint A_ITEMS = CEIL_DIV(TILE_ROWS * SLICE4, THREADS);
const uint B_ITEMS = CEIL_DIV(SLICE, THREADS_M);

vec4 acc[TILE_M];
vec4 aNext[A_ITEMS], bNext[B_ITEMS]; // the next slice, loaded while this one is multiplied

uint rowOfItem(uint j) { return (gl_LocalInvocationIndex + j * THREADS) / SLICE4; }
uint rowOf(uint i) { return gl_LocalInvocationID.y + i * THREADS_M; }

// Puts the loaded slice into shared memory, for all to read.
void storeSlice() {
    barrier(); // the slice before has been read
    uint kq = gl_LocalInvocationIndex % SLICE4;
    [[unroll]] for (uint j = 0; j < A_ITEMS; j++) {
        if (rowOfItem(j) < TILE_ROWS) tile[rowOfItem(j) * A_STRIDE + kq] = aNext[j];
    }
    [[unroll]] for (uint j = 0; j < B_ITEMS; j++) {
        uint k = gl_LocalInvocationID.y + j * THREADS_M;
        if (k < SLICE) tile[B_AT + k * THREADS_N + gl_LocalInvocationID.x] = bNext[j];
    }
    barrier();
}

void multiplySlice() {
    for (uint kq = 0; kq < SLICE4; kq++) {
        uint at = B_AT + 4 * kq * THREADS_N + gl_LocalInvocationID.x;
        vec4 b0 = tile[at], b1 = tile[at + THREADS_N], b2 = tile[at + 2 * THREADS_N], b3 = tile[at + 3 * THREADS_N];
        [[unroll]] for (uint i = 0; i < TILE_M; i++) {
            vec4 a = tile[rowOf(i) * A_STRIDE + kq];
            acc[i] = fma(vec4(a.x), b0, fma(vec4(a.y), b1, fma(vec4(a.z), b2, fma(vec4(a.w), b3, acc[i]))));
        }
    }
}
