// Activations and their derivatives, for float, vec2 and vec4. Act codes are those of kernels.Act.
#ifndef ACT_GLSL
#define ACT_GLSL
#define ACT_NONE 0u
#define ACT_SILU 1u

#define ACT_FUNCTIONS(T)                                                                    \
    T sigmoid(T z) { return 1.0 / (1.0 + exp(-z)); }                                        \
    T actValue(uint act, T z) { return act == ACT_SILU ? z * sigmoid(z) : z; }              \
    /* u = act(z) and d = act'(z) with one exponential: silu' = s + u*(1 - s). */           \
    void actBoth(uint act, T z, out T u, out T d) {                                         \
        u = z;                                                                              \
        d = T(1.0);                                                                         \
        if (act == ACT_SILU) {                                                              \
            T s = sigmoid(z);                                                               \
            u = z * s;                                                                      \
            d = s + u * (1.0 - s);                                                          \
        }                                                                                   \
    }                                                                                       \
    T actGrad(uint act, T z) { T u, d; actBoth(act, z, u, d); return d; }

ACT_FUNCTIONS(float)
ACT_FUNCTIONS(vec2)
ACT_FUNCTIONS(vec4)
#endif
