// y = a*x + y over n floats; one invocation per element.
#version 450

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool NEGATE = false;

layout(std430, set = 0, binding = 0) readonly buffer XBuf { float x[]; };
layout(std430, set = 0, binding = 1) buffer YBuf { float y[]; };
layout(push_constant) uniform Params { uint n; float a; } p;

void main() {
	uint i = gl_GlobalInvocationID.x;
	if (i < p.n) {
		y[i] = (NEGATE ? -p.a : p.a) * x[i] + y[i];
	}
}
