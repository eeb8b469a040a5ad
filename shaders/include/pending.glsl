// Value of a tensor from its raw y: what is pending is applied while loading (kernels.Pending).
//   z = scale*(y - mean) + beta   if IN_BN
//   u = act(z)                    by IN_ACT
//   value = u*gate[n,c]           if IN_GATE
// A padded tap is 0 after all of it: the caller selects. Paths that are off vanish in specialization.
//
// Define before including:
//   PENDING_WIDTH    1, 2 or 4: channels that one call handles, a PENDING_T, stored as PENDING_E; every index and CT below count in T
//   PENDING_ID       first of 3 constant ids
//   PENDING_BINDING  first of 2 bindings: inBN [6][C], inGate [N][C]
#include "act.glsl"
#include "elem.glsl"
#if PENDING_WIDTH == 4
#define PENDING_T vec4
#define PENDING_E E4
#define PENDING_LOAD load4
#define PENDING_STORE store4
#elif PENDING_WIDTH == 2
#define PENDING_T vec2
#define PENDING_E E2
#define PENDING_LOAD load2
#define PENDING_STORE store2
#else
#define PENDING_T float
#define PENDING_E E1
#define PENDING_LOAD load1
#define PENDING_STORE store1
#endif

layout(constant_id = PENDING_ID) const bool IN_BN = false;
layout(constant_id = PENDING_ID + 1) const uint IN_ACT = 0;
layout(constant_id = PENDING_ID + 2) const bool IN_GATE = false;

layout(std430, set = 0, binding = PENDING_BINDING) readonly buffer InBNBuf { PENDING_T inBN[]; };
layout(std430, set = 0, binding = PENDING_BINDING + 1) readonly buffer InGateBuf { PENDING_T inGate[]; };

const bool IN_ANY = IN_BN || IN_ACT != 0 || IN_GATE;

// InChannel is what the value of one channel (group) c needs and pixels share.
struct InChannel { PENDING_T mean, scale, beta; };

InChannel inChannel(uint c, uint CT) {
    InChannel ch = InChannel(PENDING_T(0.0), PENDING_T(1.0), PENDING_T(0.0));
    if (IN_BN) ch = InChannel(inBN[c], inBN[CT + c], inBN[2 * CT + c]);
    return ch;
}

PENDING_T inGateOf(uint n, uint c, uint CT) { return IN_GATE ? inGate[n * CT + c] : PENDING_T(1.0); }

// inGated returns the value of raw element y whose gate is known.
PENDING_T inGated(PENDING_T y, InChannel ch, PENDING_T gate) {
    PENDING_T v = y;
    if (IN_BN) v = ch.scale * (y - ch.mean) + ch.beta;
    v = actValue(IN_ACT, v);
    if (IN_GATE) v *= gate;
    return v;
}

// inValue returns the value of raw element y of image n.
PENDING_T inValue(PENDING_T y, InChannel ch, uint n, uint c, uint CT) { return inGated(y, ch, inGateOf(n, c, CT)); }
