// How activations and their gradients are stored (kernels.Elem): float32, or 16 bits as ELEM_F16 (IEEE half) or ELEM_BF16
// (the upper half of a float32). Arithmetic is float32 everywhere; a stored value is rounded to nearest.
//   E1, E2, E4                  stored type of 1, 2 and 4 channels
//   load1(e), load2, load4      float, vec2, vec4 of it
//   store1(v), store2, store4   and back
#ifndef ELEM_GLSL
#define ELEM_GLSL
#if defined(ELEM_F16) || defined(ELEM_BF16)
#extension GL_EXT_shader_16bit_storage : require
#endif
#if defined(ELEM_F16)
#define E1 float16_t
#define E2 f16vec2
#define E4 f16vec4
#define load1(e) float(e)
#define load2(e) vec2(e)
#define load4(e) vec4(e)
#define store1(v) float16_t(v)
#define store2(v) f16vec2(v)
#define store4(v) f16vec4(v)
#elif defined(ELEM_BF16)
#define E1 uint16_t
#define E2 u16vec2
#define E4 u16vec4
#define load1(e) uintBitsToFloat(uint(e) << 16)
#define load2(e) uintBitsToFloat(uvec2(e) << 16)
#define load4(e) uintBitsToFloat(uvec4(e) << 16)
#define store1(v) uint16_t(bfloat16Bits(v))
#define store2(v) u16vec2(bfloat16Bits(v))
#define store4(v) u16vec4(bfloat16Bits(v))

// Rounds to nearest, ties to even; what is not a number stays so.
uint bfloat16Bits(float v) {
    uint u = floatBitsToUint(v);
    return isnan(v) ? 0x7fc0u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
}
uvec2 bfloat16Bits(vec2 v) {
    uvec2 u = floatBitsToUint(v);
    return mix((u + 0x7fffu + ((u >> 16) & 1u)) >> 16, uvec2(0x7fc0u), isnan(v));
}
uvec4 bfloat16Bits(vec4 v) {
    uvec4 u = floatBitsToUint(v);
    return mix((u + 0x7fffu + ((u >> 16) & 1u)) >> 16, uvec4(0x7fc0u), isnan(v));
}
#else
#define E1 float
#define E2 vec2
#define E4 vec4
#define load1(e) (e)
#define load2(e) (e)
#define load4(e) (e)
#define store1(v) (v)
#define store2(v) (v)
#define store4(v) (v)
#endif
#endif
