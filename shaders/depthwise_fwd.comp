// Depthwise convolution.
// x [N H W C] with what is pending on it, w [K K C], bias [C] -> y [N P Q C]; overwrites y.
//   y[n,p,q,c] = act(sum over r,s of value(x)[n, p*STRIDE+r-padTop, q*STRIDE+s-padLeft, c] * w[r,s,c] + bias[c])
// With STATS each invocation writes the mean and M2 of its outputs, one part: stats [parts][2][C], then [parts] counts.
// Requires C % WIDTH == 0. One invocation: WIDTH channels, TQ columns, and a run of output rows that it walks down: an input
// row is loaded and activated once and added to the (K-1)/STRIDE + 1 output rows under way. No shared memory.
// Groups: x over channels, y over (strip, run of rows), z over images.
// CPU twin: tests/ref/depthwise.go.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

layout(local_size_x_id = 0, local_size_y_id = 1) in;
layout(constant_id = 2) const uint K = 3; // filter height and width
layout(constant_id = 3) const uint STRIDE = 1;
layout(constant_id = 4) const uint TQ = 4; // output columns per invocation
layout(constant_id = 5) const bool STATS = false;
layout(constant_id = 6) const bool BIAS = false;
layout(constant_id = 7) const uint ACT_OUT = 0;

#ifndef WIDTH
#define WIDTH 4 // channels of an invocation
#endif
#define PENDING_WIDTH WIDTH
#define PENDING_ID 8
#define PENDING_BINDING 5
#include "pending.glsl"
#include "stats.glsl"

layout(std430, set = 0, binding = 0) readonly buffer XBuf { PENDING_E x[]; };
layout(std430, set = 0, binding = 1) readonly buffer WBuf { PENDING_T w[]; };
layout(std430, set = 0, binding = 2) readonly buffer BiasBuf { PENDING_T bias[]; };
layout(std430, set = 0, binding = 3) writeonly buffer YBuf { PENDING_E y[]; };
layout(std430, set = 0, binding = 4) writeonly buffer StatsBuf { PENDING_T stats[]; };

layout(push_constant) uniform Params {
    uint CT; // C / WIDTH
    uint H, W, P, Q;
    uint padTop, padLeft;
    uint strips; // ceil(Q / TQ)
    uint runs;   // runs of rows per image
    uint rows;   // output rows per run
    uint image0; // image that x and y begin with
    uint parts;  // of all images
} p;

const uint REACH = (K - 1) / STRIDE; // an input row touches output rows that are up to so far apart
const uint COLS = TQ * STRIDE + K - STRIDE; // input columns that the strip reads

void main() {
    uint c = gl_GlobalInvocationID.x;
    uint tile = gl_GlobalInvocationID.y;
    uint n = gl_WorkGroupID.z;
    if (c >= p.CT || tile >= p.strips * p.runs) return;
    uint q0 = (tile % p.strips) * TQ;
    int row0 = int(tile / p.strips * p.rows);
    int row1 = min(row0 + int(p.rows), int(p.P));

    PENDING_T weight[K * K];
    [[unroll]] for (uint i = 0; i < K * K; i++) weight[i] = w[i * p.CT + c];
    PENDING_T b = BIAS ? bias[c] : PENDING_T(0.0);
    InChannel channel = inChannel(c, p.CT);
    uint image = n + p.image0;

    PENDING_T acc[(REACH + 1) * TQ]; // output rows row .. row+REACH
    [[unroll]] for (uint i = 0; i < (REACH + 1) * TQ; i++) acc[i] = PENDING_T(0.0);
    float count = 0.0; // of the outputs in the statistics, whose mean is relative to shift, the first of them
    PENDING_T shift = PENDING_T(0.0), mean = PENDING_T(0.0), m2 = PENDING_T(0.0);

    int top = max(row0 * int(STRIDE) - int(p.padTop), 0); // first input row of this run
    int left = int(q0 * STRIDE) - int(p.padLeft);
    for (int row = row0 - int(REACH); row < row1; row++) {
        // The STRIDE input rows that complete output row `row`.
        [[unroll]] for (uint i = 0; i < STRIDE; i++) {
            int h = row * int(STRIDE) - int(p.padTop) + int(K - STRIDE + i);
            if (h >= top && h < int(p.H)) {
                PENDING_T v[COLS];
                [[unroll]] for (uint u = 0; u < COLS; u++) {
                    int col = left + int(u);
                    uint near = uint(clamp(col, 0, int(p.W) - 1));
                    v[u] = inValue(PENDING_LOAD(x[((n * p.H + uint(h)) * p.W + near) * p.CT + c]), channel, image, c, p.CT);
                    if (uint(col) != near) v[u] = PENDING_T(0.0); // a padded tap is 0 after all that is pending
                }
                [[unroll]] for (uint j = 0; j <= REACH; j++) {
                    int r = int(K - STRIDE + i) - int(STRIDE * j); // filter row that leads to output row row+j
                    if (r >= 0) {
                        [[unroll]] for (uint s = 0; s < K; s++) {
                            [[unroll]] for (uint t = 0; t < TQ; t++) {
                                acc[j * TQ + t] += weight[r * int(K) + int(s)] * v[t * STRIDE + s];
                            }
                        }
                    }
                }
            }
        }
        if (row >= row0) {
            if (STATS && count == 0.0) shift = actValue(ACT_OUT, acc[0] + b);
            PENDING_T sum = PENDING_T(0.0);
            [[unroll]] for (uint t = 0; t < TQ; t++) {
                if (q0 + t < p.Q) {
                    PENDING_T value = actValue(ACT_OUT, acc[t] + b);
                    acc[t] = value;
                    y[((n * p.P + uint(row)) * p.Q + q0 + t) * p.CT + c] = PENDING_STORE(value);
                    if (STATS) sum += value - shift;
                }
            }
            if (STATS) {
                float cols = float(min(TQ, p.Q - q0));
                PENDING_T rowMean = sum / cols, rowM2 = PENDING_T(0.0);
                [[unroll]] for (uint t = 0; t < TQ; t++) {
                    if (q0 + t < p.Q) {
                        PENDING_T d = acc[t] - shift - rowMean;
                        rowM2 += d * d;
                    }
                }
                mergeStats(count, mean, m2, cols, rowMean, rowM2);
                count += cols;
            }
        }
        [[unroll]] for (uint i = 0; i < REACH * TQ; i++) acc[i] = acc[i + TQ];
        [[unroll]] for (uint t = 0; t < TQ; t++) acc[REACH * TQ + t] = PENDING_T(0.0);
    }
    if (STATS) {
        uint part = image * p.strips * p.runs + tile;
        stats[2 * part * p.CT + c] = shift + mean;
        stats[(2 * part + 1) * p.CT + c] = m2;
        if (c == 0) stats[2 * p.parts * p.CT + part / WIDTH][part % WIDTH] = count;
    }
}
