// Philox4x32-10, the counter-based generator of Salmon et al. 2011 ("Parallel random numbers: as easy as 1, 2, 3").
// Key (seedLo, seedHi), counter (step, stream, indexLo, indexHi). Go twin: kernels.Philox.
uvec4 philox(uvec2 key, uvec4 ctr) {
    for (uint round = 0; round < 10; round++) {
        uint hi0, lo0, hi1, lo1;
        umulExtended(0xD2511F53u, ctr.x, hi0, lo0);
        umulExtended(0xCD9E8D57u, ctr.z, hi1, lo1);
        ctr = uvec4(hi1 ^ ctr.y ^ key.x, lo1, hi0 ^ ctr.w ^ key.y, lo0);
        key += uvec2(0x9E3779B9u, 0xBB67AE85u);
    }
    return ctr;
}

// uniform01 maps random words to [0, 1) with 24 bits.
vec4 uniform01(uvec4 words) { return vec4(words >> 8) * (1.0 / 16777216.0); }
