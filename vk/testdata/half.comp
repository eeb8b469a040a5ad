// y[i] = 2*x[i] + 1 in 16-bit floats, stored as such.
#version 450
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require

layout(local_size_x = 64) in;

layout(std430, set = 0, binding = 0) readonly buffer XBuf { float16_t x[]; };
layout(std430, set = 0, binding = 1) writeonly buffer YBuf { float16_t y[]; };

void main() {
	uint i = gl_GlobalInvocationID.x;
	y[i] = float16_t(2) * x[i] + float16_t(1);
}
