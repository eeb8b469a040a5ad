// What the uniform variants of the dense convolutions share. They are for CPU drivers that keep a value which is the same in
// all lanes in a scalar register (lavapipe since Mesa 26): there a load from an address that is the same in all lanes is one
// machine instruction, which a multiply-add takes as its operand, whereas lanes with addresses of their own are gathered
// one by one. So both operands of the GEMM are read from such addresses: A as scalars, 8 columns of B as a vector
// that the compiler puts together from 8 neighbouring scalars. Addresses are pointers, because a driver does not check
// their bounds. A workgroup is one subgroup of 8.
// Lavapipe executes what follows a loop's exit up to the loop's end, and a loop that is not entered, once with all lanes
// masked off, and masks do not keep a load from a pointer away. So every loop here tests at its end, and runs at least once.
// Include after the push block, which ends with what POINTERS names.
layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Eight { vec4 lo, hi; };
layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer One { float v; };

// lanes8 gives lane i the float at address at + 4*i.
float lanes8(uint64_t at) {
    vec4 lo = Eight(at).lo, hi = Eight(at).hi;
    uint lane = gl_SubgroupInvocationID;
    float v = lo.x;
    v = lane == 1 ? lo.y : v;
    v = lane == 2 ? lo.z : v;
    v = lane == 3 ? lo.w : v;
    v = lane == 4 ? hi.x : v;
    v = lane == 5 ? hi.y : v;
    v = lane == 6 ? hi.z : v;
    return lane == 7 ? hi.w : v;
}

float acc[TILE_M * TILE_N];

// multiply adds the product of n columns of A, those of row i from a[i] on, and n rows of B, the first at b[t], stride bytes
// apart; n is a multiple of 8 and not 0.
void multiply(uint64_t a[TILE_M], uint64_t b[TILE_N], uint64_t stride, uint n) {
    uint k = 0;
    do {
        vec4 lo[TILE_M], hi[TILE_M];
        [[unroll]] for (uint i = 0; i < TILE_M; i++) {
            lo[i] = Eight(a[i] + 4 * k).lo;
            hi[i] = Eight(a[i] + 4 * k).hi;
        }
        [[unroll]] for (uint j = 0; j < 8; j++) {
            float w[TILE_N];
            [[unroll]] for (uint t = 0; t < TILE_N; t++) w[t] = lanes8(b[t] + stride * (k + j));
            [[unroll]] for (uint i = 0; i < TILE_M; i++) {
                float v = j < 4 ? lo[i][j & 3] : hi[i][j & 3];
                [[unroll]] for (uint t = 0; t < TILE_N; t++) acc[i * TILE_N + t] = fma(v, w[t], acc[i * TILE_N + t]);
            }
        }
        k += 8;
    } while (k < n);
}
