// Both gradients of a 3x3 depthwise convolution of u = act(bn(x)) in one pass, so that dy and x are read once.
// dy [N P Q C] built on load (include/gradin.glsl), w [3 3 C], raw x [N H W C] ->
//   du[n,h,w,c] = sum over the p,q,r,s with p*STRIDE+r-padTop = h, q*STRIDE+s-padLeft = w of dy[n,p,q,c] * w[r,s,c]
//   dw[r,s,c]   = sum over the same n,p,q,h,w of dy[n,p,q,c] * u[n,h,w,c]
// du goes to include/sink.glsl, which overwrites dx and the sums; dw [splits][3 3 C] is overwritten, conv_wgrad_reduce adds
// the splits. Every element of x belongs to one tile (strip of STRIDE*TQ columns, run of rows, image), so that the
// sink's reading of x serves dw too; an invocation takes every splits-th tile and its sums are one part.
// Requires C % WIDTH == 0; a sink with an activation and sums, without SE. One invocation: WIDTH channels. It walks down the rows of
// dy and keeps the (K-1)/STRIDE + 1 of them that a row of x meets. No shared memory.
// Groups: x over channels, y over splits.
// CPU twin: tests/ref/depthwise.go.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

layout(local_size_x_id = 0, local_size_y_id = 1) in;
layout(constant_id = 2) const uint STRIDE = 1;
layout(constant_id = 3) const uint TQ = 2; // columns of dy that begin in a strip

#ifndef WIDTH
#define WIDTH 4 // channels of an invocation
#endif
#define DY_WIDTH WIDTH
#define DY_ID 4
#define DY_BINDING 1
#include "gradin.glsl"
#define SINK_WIDTH WIDTH
#define SINK_ID 9
#define SINK_BINDING 7
#include "sink.glsl"

layout(std430, set = 0, binding = 0) readonly buffer WBuf { DY_T w[]; };
layout(std430, set = 0, binding = 13) writeonly buffer DwBuf { DY_T dw[]; };

layout(push_constant) uniform Params {
    uint CT; // C / WIDTH
    uint H, W, P, Q;
    uint padTop, padLeft;
    uint strips; // strips that cover W columns, the first from column -padLeft
    uint runs;   // runs of rows per image
    uint rows;   // rows of dy that begin in a run: it covers STRIDE*rows rows of x, the first from row -padTop
    uint image0; // image that g, y, x and dx begin with
    uint tiles;  // strips * runs * images of this call
    uint splits; // invocations that share the tiles
    uint split0; // row of dw and part of the sums that the first of them writes
} p;

const uint K = 3;                    // filter height and width
const uint REACH = (K - 1) / STRIDE; // a row of x meets rows of dy that are up to so far apart
const uint DY_COLS = TQ + REACH;
const uint COLS = TQ * STRIDE;

void main() {
    uint c = gl_GlobalInvocationID.x;
    uint split = gl_GlobalInvocationID.y;
    if (c >= p.CT || split >= p.splits) return;

    DY_T weight[K * K], grad[K * K];
    [[unroll]] for (uint i = 0; i < K * K; i++) {
        weight[i] = w[i * p.CT + c];
        grad[i] = DY_T(0.0);
    }
    DyChannel dyC = dyChannel(c, p.CT);
    SinkChannel sinkC = sinkChannel(c, p.CT);
    SinkSums total = sinkZero();

    for (uint tile = split; tile < p.tiles; tile += p.splits) {
        int q0 = int(tile % p.strips * TQ);
        int row0 = int(tile / p.strips % p.runs * p.rows);
        int row1 = row0 + int(p.rows);
        uint n = tile / (p.strips * p.runs);
        uint image = n + p.image0;
        DyImage dyI = dyImage(image, c, p.CT);
        int left = q0 * int(STRIDE) - int(p.padLeft);

        DY_T dy[(REACH + 1) * DY_COLS]; // rows row-REACH .. row
        [[unroll]] for (uint i = 0; i < (REACH + 1) * DY_COLS; i++) dy[i] = DY_T(0.0);
        for (int row = row0 - int(REACH); row < row1; row++) {
            [[unroll]] for (uint i = 0; i < REACH * DY_COLS; i++) dy[i] = dy[i + DY_COLS];
            [[unroll]] for (uint u = 0; u < DY_COLS; u++) {
                int q = q0 - int(REACH) + int(u);
                uint nearP = uint(clamp(row, 0, int(p.P) - 1)), nearQ = uint(clamp(q, 0, int(p.Q) - 1));
                DY_T v = dyOf(((n * p.P + nearP) * p.Q + nearQ) * p.CT + c, dyC, dyI);
                dy[REACH * DY_COLS + u] = nearP == uint(row) && nearQ == uint(q) ? v : DY_T(0.0);
            }
            if (row < row0) continue;
            // The STRIDE rows of x that no later row of dy meets.
            [[unroll]] for (uint i = 0; i < STRIDE; i++) {
                int h = row * int(STRIDE) - int(p.padTop) + int(i);
                [[unroll]] for (uint t = 0; t < COLS; t++) {
                    int col = left + int(t);
                    if (uint(h) < p.H && uint(col) < p.W) {
                        DY_T du = DY_T(0.0);
                        [[unroll]] for (uint j = 0; j <= REACH; j++) {
                            uint r = i + STRIDE * j; // filter row that joins row h to row row-j of dy
                            [[unroll]] for (uint s = 0; s < K; s++) {
                                uint at = t + STRIDE * REACH + STRIDE - s; // STRIDE more than the column, to stay positive
                                if (r < K && at % STRIDE == 0) du += weight[r * K + s] * dy[(REACH - j) * DY_COLS + at / STRIDE - 1];
                            }
                        }
                        DY_T u = sinkStore(du, ((n * p.H + uint(h)) * p.W + uint(col)) * p.CT + c, image, sinkC, total);
                        [[unroll]] for (uint j = 0; j <= REACH; j++) {
                            uint r = i + STRIDE * j;
                            [[unroll]] for (uint s = 0; s < K; s++) {
                                uint at = t + STRIDE * REACH + STRIDE - s;
                                if (r < K && at % STRIDE == 0) grad[r * K + s] += u * dy[(REACH - j) * DY_COLS + at / STRIDE - 1];
                            }
                        }
                    }
                }
            }
        }
    }
    sinkWrite(total, p.split0 + split, c, p.CT);
    [[unroll]] for (uint i = 0; i < K * K; i++) dw[((p.split0 + split) * K * K + i) * p.CT + c] = grad[i];
}
