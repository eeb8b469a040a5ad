// What the variants of conv_bwd share: the push block and the runs of pixels that a workgroup walks. Include after sink.glsl.
//
// The pixels m = (n*H + h)*W + w of a call form segments, one per image with SE (sums per image) and one for all else. A
// segment is cut into parts of `tiles` tiles; each part leaves its own row of sums. gl_WorkGroupID.y is the split: it walks
// `runs` parts and leaves its own dw.
layout(push_constant) uniform Params {
    uint HW;     // pixels of an image
    uint n0;     // first image of this call, where keep, gate and e are indexed
    uint C;
    uint rows;   // pixels of a segment
    uint tiles;  // tiles of a part
    uint parts;  // of a segment
    uint part0;  // this call's first row of sums
    uint total;  // parts of all segments of this call
    uint runs;   // parts that a workgroup walks
    uint split0; // this call's first split
} p;

uint firstRun() { return gl_WorkGroupID.y * p.runs; }
uint lastRun() { return min(firstRun() + p.runs, p.total); }

// Run is a part: pixels first up to last, in tiles of so many.
struct Run { uint first, last; };

Run runOf(uint run, uint tileRows) {
    uint segment = run / p.parts;
    uint first = (run - segment * p.parts) * p.tiles * tileRows, last = min(first + p.tiles * tileRows, p.rows);
    return Run(segment * p.rows + first, segment * p.rows + last);
}
