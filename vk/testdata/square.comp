// x[i] = x[i] * x[i] for n floats; one invocation per element.
#version 450

layout(local_size_x = 64) in;

layout(std430, set = 0, binding = 0) buffer XBuf { float x[]; };
layout(push_constant) uniform Params { uint n; } p;

void main() {
	uint i = gl_GlobalInvocationID.x;
	if (i < p.n) {
		x[i] = x[i] * x[i];
	}
}
