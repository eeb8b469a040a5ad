// How an elementwise kernel over [N HW C] walks: an invocation takes 4 channels of every LY-th pixel of a tile, LY being
// the workgroup's second dimension. With EACH the tile is EACH*LY pixels, tiles cover an image and workgroups the
// channels without a rest, so that nothing depends on a condition: CPU drivers mask what does, one lane at a time.
// The including shader defines EACH, the push constants C4, HW and tile, and `void element(uint i)`, i in vec4.
void eachPixel(uint n, uint c) {
    uint first = gl_WorkGroupID.y * p.tile;
    uint i = (n * p.HW + first + gl_LocalInvocationID.y) * p.C4 + c;
    uint stride = gl_WorkGroupSize.y * p.C4;
    if (EACH == 0) {
        for (uint end = (n * p.HW + min(first + p.tile, p.HW)) * p.C4; i < end; i += stride) element(i);
    } else {
        [[unroll]] for (uint e = 0; e < EACH; e++) element(i + e * stride);
    }
}
