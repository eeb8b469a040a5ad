// What happens to du, the gradient of the value of a tensor with raw output y, where it is made (kernels.Sink).
//   du += add[i]                                   if SINK_ADD
//   act:             dz = keep*du*act'(z), dz is written, sums of it are taken
//   act, sums only:  the same sums, but du is written
//   neither:         dz = keep*du, du is written, sums of dz are taken if SINK_SUMS
//   SE:              du is written; sums of du*u, du*d and du*d*yhat, d = act'(z)
// Sums are S = sum dz and T = sum dz*yhat, yhat = (y - mean)*rstd. Paths that are off vanish in specialization.
//
// Define before including:
//   SINK_WIDTH    1, 2 or 4: channels that one call handles, a SINK_T, stored as SINK_E; every index and CT below count in T
//   SINK_ID       first of 6 constant ids
//   SINK_BINDING  first of 6 bindings: dx, add, x (the raw output y) [N H W C], sinkBN [6][C], sinkKeep [N],
//                 sums [parts][2][C] or, with SE, [N][parts][3][C]
#include "act.glsl"
#include "elem.glsl"
#if SINK_WIDTH == 4
#define SINK_T vec4
#define SINK_E E4
#define SINK_LOAD load4
#define SINK_STORE store4
#elif SINK_WIDTH == 2
#define SINK_T vec2
#define SINK_E E2
#define SINK_LOAD load2
#define SINK_STORE store2
#else
#define SINK_T float
#define SINK_E E1
#define SINK_LOAD load1
#define SINK_STORE store1
#endif

layout(constant_id = SINK_ID) const bool SINK_ADD = false;
layout(constant_id = SINK_ID + 1) const bool SINK_KEEP = false;
layout(constant_id = SINK_ID + 2) const bool SINK_SUMS = false; // true whenever sums are taken: with ACT and SE too
layout(constant_id = SINK_ID + 3) const bool SINK_SUMS_ONLY = false;
layout(constant_id = SINK_ID + 4) const bool SINK_SE = false;
layout(constant_id = SINK_ID + 5) const uint SINK_ACT = 0;

layout(std430, set = 0, binding = SINK_BINDING) writeonly buffer DxBuf { SINK_E dx[]; };
layout(std430, set = 0, binding = SINK_BINDING + 1) readonly buffer AddBuf { SINK_E add[]; };
layout(std430, set = 0, binding = SINK_BINDING + 2) readonly buffer XBuf { SINK_E x[]; };
layout(std430, set = 0, binding = SINK_BINDING + 3) readonly buffer SinkBNBuf { SINK_T sinkBN[]; };
layout(std430, set = 0, binding = SINK_BINDING + 4) readonly buffer SinkKeepBuf { float sinkKeep[]; };
layout(std430, set = 0, binding = SINK_BINDING + 5) writeonly buffer SumsBuf { SINK_T sums[]; };

// How many rows of C a part of sums has.
const uint SINK_ROWS = SINK_SE ? 3 : 2;

// SinkChannel is what the sink of one channel (group) c needs and pixels share.
struct SinkChannel { SINK_T mean, scale, beta, rstd; };

SinkChannel sinkChannel(uint c, uint CT) {
    SINK_T zero = SINK_T(0.0);
    SinkChannel ch = SinkChannel(zero, SINK_T(1.0), zero, zero);
    if (SINK_SUMS) ch = SinkChannel(sinkBN[c], sinkBN[CT + c], sinkBN[2 * CT + c], sinkBN[3 * CT + c]);
    return ch;
}

// SinkSums accumulates: S and T in s0 and s1; with SE du*u, du*d and du*d*yhat in s0, s1 and s2.
struct SinkSums { SINK_T s0, s1, s2; };

SinkSums sinkZero() { return SinkSums(SINK_T(0.0), SINK_T(0.0), SINK_T(0.0)); }

SinkSums sinkAdd(SinkSums a, SinkSums b) { return SinkSums(a.s0 + b.s0, a.s1 + b.s1, a.s2 + b.s2); }

// sinkStore disposes of du at element i = pixel*CT + c, a pixel of image n, and adds to acc. It returns u = act(z), the
// tensor's value before a gate, 0 where no sums are taken.
SINK_T sinkStore(SINK_T du, uint i, uint n, SinkChannel ch, inout SinkSums acc) {
    if (SINK_ADD) du += SINK_LOAD(add[i]);
    SINK_T dz = du, u = SINK_T(0.0);
    if (SINK_SUMS) {
        SINK_T d = SINK_LOAD(x[i]) - ch.mean;
        SINK_T yhat = d * ch.rstd;
        SINK_T slope;
        actBoth(SINK_ACT, ch.scale * d + ch.beta, u, slope);
        if (SINK_KEEP) dz *= sinkKeep[n];
        dz *= slope; // 1 without an activation
        if (SINK_SE) {
            acc.s0 += du * u;
            acc.s1 += dz;
            acc.s2 += dz * yhat;
        } else {
            acc.s0 += dz;
            acc.s1 += dz * yhat;
        }
    }
    dx[i] = SINK_STORE(SINK_ACT != 0 && !SINK_SUMS_ONLY && !SINK_SE ? dz : du);
    return u;
}

// sinkWrite stores the sums of one part: row = part, with SE n*parts + part.
void sinkWrite(SinkSums acc, uint row, uint c, uint CT) {
    uint i = row * SINK_ROWS * CT + c;
    sums[i] = acc.s0;
    sums[i + CT] = acc.s1;
    if (SINK_SE) sums[i + 2 * CT] = acc.s2;
}
