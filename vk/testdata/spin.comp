// Adds 1 to every y[i], after p.rounds steps of a generator that no compiler can foresee: a call that takes time.
#version 450

layout(local_size_x = 64) in;

layout(std430, set = 0, binding = 0) buffer YBuf { uint y[]; };
layout(push_constant) uniform Params { uint n; uint rounds; } p;

void main() {
	uint i = gl_GlobalInvocationID.x;
	uint s = i | 1u;
	for (uint r = 0u; r < p.rounds; r++) {
		s = s * 1664525u + 1013904223u;
	}
	if (i < p.n) {
		y[i] += s == 0u ? 2u : 1u;
	}
}
