#version 450
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_shader_subgroup_basic : require
// Ceiling of a device's cooperative matrices: products of float16 matrices with float32 sums that need nothing but registers.
// x: two A [MAT_M][MAT_K], then two B [MAT_K][MAT_N], float16 in pairs; y [subgroups][MAT_M][MAT_N] float32, overwritten. One
// subgroup: iterations x UNROLL x 4 products, of two A with two B as a GEMM has them, in four independent chains. Shared: none.
// The matrices come from memory and the A change places, one of them its sign, after every four products, so that a driver
// that multiplies them element by element finds nothing to compute once only; the sums stay small.
// Requires MAT_K and MAT_N even, and what a call asks for: full subgroups, of which the workgroup has a whole number.

layout(local_size_x = 128, local_size_x_id = 0) in;
layout(constant_id = 1) const uint MAT_M = 16;
layout(constant_id = 2) const uint MAT_N = 16;
layout(constant_id = 3) const uint MAT_K = 16;

const uint UNROLL = 4;

layout(push_constant) uniform Params {
    uint iterations;
} p;

layout(std430, set = 0, binding = 0) readonly buffer XBuf { uint x[]; };
layout(std430, set = 0, binding = 1) writeonly buffer YBuf { float y[]; };

#define MAT_A coopmat<float16_t, gl_ScopeSubgroup, MAT_M, MAT_K, gl_MatrixUseA>
#define MAT_B coopmat<float16_t, gl_ScopeSubgroup, MAT_K, MAT_N, gl_MatrixUseB>
#define MAT_C coopmat<float, gl_ScopeSubgroup, MAT_M, MAT_N, gl_MatrixUseAccumulator>

void main() {
    const uint A_SIZE = MAT_M * MAT_K / 2, B_SIZE = MAT_K * MAT_N / 2;
    MAT_A a0, a1;
    coopMatLoad(a0, x, 0, MAT_K / 2, gl_CooperativeMatrixLayoutRowMajor);
    coopMatLoad(a1, x, A_SIZE, MAT_K / 2, gl_CooperativeMatrixLayoutRowMajor);
    MAT_B b0, b1;
    coopMatLoad(b0, x, 2 * A_SIZE, MAT_N / 2, gl_CooperativeMatrixLayoutRowMajor);
    coopMatLoad(b1, x, 2 * A_SIZE + B_SIZE, MAT_N / 2, gl_CooperativeMatrixLayoutRowMajor);
    MAT_C c00 = MAT_C(0.0), c01 = MAT_C(0.0), c10 = MAT_C(0.0), c11 = MAT_C(0.0);
    for (uint k = 0; k < p.iterations; k++) {
        [[unroll]] for (uint u = 0; u < UNROLL; u++) {
            c00 = coopMatMulAdd(a0, b0, c00);
            c01 = coopMatMulAdd(a0, b1, c01);
            c10 = coopMatMulAdd(a1, b0, c10);
            c11 = coopMatMulAdd(a1, b1, c11);
            MAT_A t = a0;
            a0 = a1;
            a1 = -t;
        }
    }
    uint subgroup = gl_WorkGroupID.x * gl_NumSubgroups + gl_SubgroupID;
    coopMatStore(c00 + c01 + c10 + c11, y, subgroup * MAT_M * MAT_N, MAT_N, gl_CooperativeMatrixLayoutRowMajor);
}
