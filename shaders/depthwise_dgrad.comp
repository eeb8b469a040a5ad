// Gradient of a depthwise convolution with respect to its input (dgrad).
// dy [N P Q C] built on load (include/gradin.glsl), w [K K C] -> du [N H W C], disposed of by include/sink.glsl.
//   du[n,h,w,c] = sum over the p,q,r,s with p*STRIDE+r-padTop = h, q*STRIDE+s-padLeft = w of dy[n,p,q,c] * w[r,s,c]
// Requires C % 4 == 0. One invocation: 4 channels, STRIDE*TQ columns of du, and a run of rows: it walks down the rows of
// dy, loads each once and adds it to the K rows of du that it touches; only taps that exist are visited. Each
// invocation writes its sums as one part. No shared memory.
// Groups: x over channels, y over (strip, run of rows), z over images.
// CPU twin: tests/ref/depthwise.go.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

layout(local_size_x_id = 0, local_size_y_id = 1) in;
layout(constant_id = 2) const uint K = 3; // filter height and width
layout(constant_id = 3) const uint STRIDE = 1;
layout(constant_id = 4) const uint TQ = 4; // columns of dy that begin in an invocation's strip

#define DY_WIDTH 4
#define DY_ID 5
#define DY_BINDING 1
#include "gradin.glsl"
#define SINK_WIDTH 4
#define SINK_ID 10
#define SINK_BINDING 7
#include "sink.glsl"

layout(std430, set = 0, binding = 0) readonly buffer WBuf { vec4 w[]; };

layout(push_constant) uniform Params {
    uint C4; // C / 4
    uint H, W, P, Q;
    uint padTop, padLeft;
    uint strips; // strips that cover W columns, the first from column -padLeft
    uint runs;   // runs of rows per image
    uint rows;   // rows of dy that begin in a run: it covers STRIDE*rows rows of du, the first from row -padTop
    uint image0; // image that g, y and dx begin with
} p;

const uint REACH = (K - 1) / STRIDE; // a row of du reads rows of dy that are up to so far apart
const uint DY_COLS = TQ + REACH;
const uint COLS = TQ * STRIDE;

void main() {
    uint c = gl_GlobalInvocationID.x;
    uint tile = gl_GlobalInvocationID.y;
    uint n = gl_WorkGroupID.z;
    if (c >= p.C4 || tile >= p.strips * p.runs) return;
    int q0 = int(tile % p.strips * TQ);
    int row0 = int(tile / p.strips * p.rows);
    int row1 = row0 + int(p.rows);

    vec4 weight[K * K];
    [[unroll]] for (uint i = 0; i < K * K; i++) weight[i] = w[i * p.C4 + c];
    DyChannel dyC = dyChannel(c, p.C4);
    SinkChannel sinkC = sinkChannel(c, p.C4);
    uint image = n + p.image0;

    vec4 acc[K * COLS]; // rows of du from STRIDE*row - padTop on
    [[unroll]] for (uint i = 0; i < K * COLS; i++) acc[i] = vec4(0.0);
    SinkSums total = sinkZero();

    int left = q0 * int(STRIDE) - int(p.padLeft);
    for (int row = row0 - int(REACH); row < row1; row++) {
        if (row >= 0 && row < int(p.P)) {
            vec4 dy[DY_COLS];
            [[unroll]] for (uint u = 0; u < DY_COLS; u++) {
                int q = q0 - int(REACH) + int(u);
                uint near = uint(clamp(q, 0, int(p.Q) - 1));
                dy[u] = dyValue(((n * p.P + uint(row)) * p.Q + near) * p.C4 + c, dyC, image, c, p.C4);
                if (uint(q) != near) dy[u] = vec4(0.0);
            }
            [[unroll]] for (uint r = 0; r < K; r++) {
                [[unroll]] for (uint t = 0; t < COLS; t++) {
                    [[unroll]] for (uint s = 0; s < K; s++) {
                        uint at = t + STRIDE * REACH + STRIDE - s; // STRIDE more than the column, to stay positive
                        if (at % STRIDE == 0) acc[r * COLS + t] += weight[r * K + s] * dy[at / STRIDE - 1];
                    }
                }
            }
        }
        // No later row of dy reaches the first STRIDE rows of acc.
        if (row >= row0) {
            [[unroll]] for (uint i = 0; i < STRIDE; i++) {
                int h = row * int(STRIDE) - int(p.padTop) + int(i);
                if (h >= 0 && h < int(p.H)) {
                    [[unroll]] for (uint t = 0; t < COLS; t++) {
                        int col = left + int(t);
                        if (col >= 0 && col < int(p.W)) {
                            uint at = ((n * p.H + uint(h)) * p.W + uint(col)) * p.C4 + c;
                            sinkStore(acc[i * COLS + t], at, image, sinkC, total);
                        }
                    }
                }
            }
        }
        [[unroll]] for (uint i = 0; i < (K - STRIDE) * COLS; i++) acc[i] = acc[i + STRIDE * COLS];
        [[unroll]] for (uint i = (K - STRIDE) * COLS; i < K * COLS; i++) acc[i] = vec4(0.0);
    }
    if (SINK_SUMS) sinkWrite(total, image * p.strips * p.runs + tile, c, p.C4);
}
