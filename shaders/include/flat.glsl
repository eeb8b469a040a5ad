// An elementwise pass over flat buffers of vec4: one workgroup owns LANES*EACH of them, which its lanes take in turn. The
// including shader defines `void element(uint i)` and calls eachElement from main, after it has read what all elements
// share into variables: in the loop a compiler would have to read it again after every store.
const uint LANES = 64, EACH = 4;
layout(local_size_x = 64) in;
layout(push_constant) uniform Params {
    uint count4; // floats / 4
    uint decay4; // of them, from the first on, those that weight decay applies to
} p;

void element(uint i);

void eachElement() {
    uint at = gl_WorkGroupID.x * LANES * EACH + gl_LocalInvocationID.x;
    for (uint i = 0; i < EACH; i++) {
        uint j = at + i * LANES;
        if (j < p.count4) element(j);
    }
}
