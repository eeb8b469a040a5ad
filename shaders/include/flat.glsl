// An elementwise pass over flat buffers: one workgroup owns LANES*EACH elements, which its lanes take in turn. The
// including shader defines `void element(uint i)` and calls eachElement from main.
const uint LANES = 64, EACH = 16;
layout(local_size_x = 64) in;
layout(push_constant) uniform Params { uint count; } p;

void element(uint i);

void eachElement() {
    uint at = gl_WorkGroupID.x * LANES * EACH + gl_LocalInvocationID.x;
    for (uint i = 0; i < EACH; i++) {
        uint j = at + i * LANES;
        if (j < p.count) element(j);
    }
}
