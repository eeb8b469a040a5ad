// Cooperative matrices (VK_KHR_cooperative_matrix) of what activations are stored as. Define ELEM_F16 or ELEM_BF16.
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#ifdef ELEM_BF16
#extension GL_EXT_bfloat16 : require
#extension GL_EXT_shader_explicit_arithmetic_types_int16 : require
#define MAT_T bfloat16_t
#define PACK_BITS pack32
#else
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define MAT_T float16_t
#define PACK_BITS packFloat2x16
#endif
#include "elem.glsl"

// The bits of 8 values.
uvec4 bits8(E4 a, E4 b) { return uvec4(PACK_BITS(a.xy), PACK_BITS(a.zw), PACK_BITS(b.xy), PACK_BITS(b.zw)); }
