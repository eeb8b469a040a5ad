// The gradient dy of a convolution's raw output y, built while loading (kernels.GradIn).
//   dz = g                      (0 if DY_NOG)
//   dz *= keep[n]               if DY_KEEP
//   dz = dz*gate[n,k] + e[n,k]  if DY_GATE
//   dz *= act'(z)               by DY_ACT, z = scale*(y - mean) + beta
//   dy = scale*dz + b*(y - mean) + c  if DY_BN, else dz
// Paths that are off vanish in specialization.
//
// Define before including:
//   DY_WIDTH    1, 2 or 4: channels that one call handles, a DY_T, stored as DY_E; every index and KT below count in T
//   DY_ID       first of 5 constant ids
//   DY_BINDING  first of 6 bindings: g, y [N P Q K], dyBN [6][K], dyKeep [N], dyGate, dyE [N][K]
#include "act.glsl"
#include "elem.glsl"
#if DY_WIDTH == 4
#define DY_T vec4
#define DY_E E4
#define DY_LOAD load4
#elif DY_WIDTH == 2
#define DY_T vec2
#define DY_E E2
#define DY_LOAD load2
#else
#define DY_T float
#define DY_E E1
#define DY_LOAD load1
#endif

layout(constant_id = DY_ID) const bool DY_BN = false;
layout(constant_id = DY_ID + 1) const bool DY_KEEP = false;
layout(constant_id = DY_ID + 2) const bool DY_GATE = false;
layout(constant_id = DY_ID + 3) const bool DY_NOG = false;
layout(constant_id = DY_ID + 4) const uint DY_ACT = 0;

layout(std430, set = 0, binding = DY_BINDING) readonly buffer GBuf { DY_E g[]; };
layout(std430, set = 0, binding = DY_BINDING + 1) readonly buffer YBuf { DY_E y[]; };
layout(std430, set = 0, binding = DY_BINDING + 2) readonly buffer DyBNBuf { DY_T dyBN[]; };
layout(std430, set = 0, binding = DY_BINDING + 3) readonly buffer DyKeepBuf { float dyKeep[]; };
layout(std430, set = 0, binding = DY_BINDING + 4) readonly buffer DyGateBuf { DY_T dyGate[]; };
layout(std430, set = 0, binding = DY_BINDING + 5) readonly buffer DyEBuf { DY_T dyE[]; };

const bool DY_Y = DY_BN || DY_ACT != 0; // y is read
const bool DY_ANY = DY_BN || DY_KEEP || DY_GATE || DY_NOG || DY_ACT != 0;

// DyChannel is what dy of one channel (group) k needs and pixels share.
struct DyChannel { DY_T mean, scale, beta, b, c; };

DyChannel dyChannel(uint k, uint KT) {
    DY_T zero = DY_T(0.0);
    DyChannel ch = DyChannel(zero, DY_T(1.0), zero, zero, zero);
    if (DY_Y) {
        ch.mean = dyBN[k];
        ch.scale = dyBN[KT + k];
        ch.beta = dyBN[2 * KT + k];
    }
    if (DY_BN) {
        ch.b = dyBN[4 * KT + k];
        ch.c = dyBN[5 * KT + k];
    }
    return ch;
}

// DyImage is what dy of one image and channel (group) needs and pixels share.
struct DyImage { float keep; DY_T gate, e; };

DyImage dyImage(uint n, uint k, uint KT) {
    DyImage im = DyImage(1.0, DY_T(1.0), DY_T(0.0));
    if (DY_KEEP) im.keep = dyKeep[n];
    if (DY_GATE) {
        im.e = dyE[n * KT + k];
        if (!DY_NOG) im.gate = dyGate[n * KT + k];
    }
    return im;
}

// dyFrom returns dy from loaded elements of g and y.
DY_T dyFrom(DY_T gi, DY_T yi, DyChannel ch, DyImage im) {
    DY_T dz = DY_NOG ? DY_T(0.0) : gi;
    if (DY_KEEP) dz *= im.keep;
    if (DY_GATE) dz = dz * im.gate + im.e;
    DY_T d = DY_Y ? yi - ch.mean : DY_T(0.0);
    if (DY_ACT != 0) dz *= actGrad(DY_ACT, ch.scale * d + ch.beta);
    if (DY_BN) dz = ch.scale * dz + ch.b * d + ch.c;
    return dz;
}

// dyOf returns dy at element i = pixel*KT + k.
DY_T dyOf(uint i, DyChannel ch, DyImage im) {
    DY_T gi = DY_T(0.0), yi = DY_T(0.0);
    if (!DY_NOG) gi = DY_LOAD(g[i]);
    if (DY_Y) yi = DY_LOAD(y[i]);
    return dyFrom(gi, yi, ch, im);
}

// dyValue returns dy at element i = pixel*KT + k, a pixel of image n.
DY_T dyValue(uint i, DyChannel ch, uint n, uint k, uint KT) { return dyOf(i, ch, dyImage(n, k, KT)); }
