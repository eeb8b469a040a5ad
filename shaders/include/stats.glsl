// Merging of per-channel statistics (mean, M2 = sum of squared deviations from it) of two sets of rows.
// T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances",
// 1979, equation 2.1. n and nb are row counts; nb > 0.
#ifndef STATS_GLSL
#define STATS_GLSL
#define STATS_FUNCTIONS(T)                                                      \
    void mergeStats(float n, inout T mean, inout T m2, float nb, T meanB, T m2B) { \
        float f = nb / (n + nb);                                                \
        T d = meanB - mean;                                                     \
        mean += d * f;                                                          \
        m2 += m2B + d * d * (n * f);                                            \
    }

STATS_FUNCTIONS(float)
STATS_FUNCTIONS(vec2)
STATS_FUNCTIONS(vec4)
#endif
