// y[i] = the size of the subgroup of invocation i, plus 1000 if a subgroup of the workgroup is not full.
#version 450
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_ballot : require

layout(local_size_x_id = 0) in;

layout(std430, set = 0, binding = 0) buffer YBuf { uint y[]; };

void main() {
	uint invocations = subgroupBallotBitCount(subgroupBallot(true));
	y[gl_GlobalInvocationID.x] = gl_SubgroupSize + (invocations == gl_SubgroupSize ? 0u : 1000u);
}
