// Images as packed words: red in the lowest byte, then green, blue and an unused byte. One row of the table per image
// (kernels.ImageRow).
struct ImageRow {
    uint offset, width, height, flip; // source: first word, size in pixels; mirror left and right if not 0
    float x, y, cropWidth, cropHeight; // region of the source that is resized, in pixels
    uint op0;                          // RandAugment operations and their arguments
    float arg0;
    uint op1;
    float arg1;
    uint partner; // image that is mixed in
    float lambda; // share of this image
    uint centre0, centre1; // of cutout: x in the lower half, y in the upper
};

vec3 unpackPixel(uint word) { return vec3(word & 255u, (word >> 8) & 255u, (word >> 16) & 255u); }

uint packPixel(uvec3 c) { return c.r | c.g << 8 | c.b << 16 | 0xFF000000u; }
