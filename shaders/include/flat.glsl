// An elementwise pass over flat buffers of vec4: one workgroup owns LANES*EACH of them, which its lanes take in turn. The
// including shader defines `void element(uint i)` and calls eachElement from main, after it has read what all elements
// share into variables: between elements a compiler would have to read it again after every store. Without TAIL all
// workgroups are full, and nothing depends on a condition: CPU drivers mask what does, one lane at a time.
layout(local_size_x = 64, local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;
layout(constant_id = 1) const uint EACH = 4;
layout(constant_id = 2) const bool TAIL = true;
layout(push_constant) uniform Params {
    uint count4; // floats / 4
    uint decay4; // of them, from the first on, those that weight decay applies to
} p;

void element(uint i);

void eachElement() {
    uint at = gl_WorkGroupID.x * LANES * EACH + gl_LocalInvocationID.x;
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        uint j = at + i * LANES;
        if (!TAIL || j < p.count4) element(j);
    }
}
