// Gradient of a depthwise convolution with respect to its weights (wgrad), first stage.
// x [N H W C] with what is pending on it, dy [N P Q C] built on load (include/gradin.glsl) -> dw [splits][K K C]
//   dw[r,s,c] = sum over n,p,q of dy[n,p,q,c] * value(x)[n, p*STRIDE+r-padTop, q*STRIDE+s-padLeft, c]
// of every splits-th tile (strip of TQ columns, run of rows, image). Overwrites dw; depthwise_wgrad_reduce adds the splits.
// Requires C % 4 == 0. One invocation: 4 channels and all K*K taps of its tiles. It walks down the rows of x, loads and
// activates each once, and keeps the (K-1)/STRIDE + 1 rows of dy that a row of x meets. No shared memory.
// Groups: x over channels, y over splits.
// CPU twin: tests/ref/depthwise.go.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

layout(local_size_x_id = 0, local_size_y_id = 1) in;
layout(constant_id = 2) const uint K = 3; // filter height and width
layout(constant_id = 3) const uint STRIDE = 1;
layout(constant_id = 4) const uint TQ = 4; // columns of dy per tile

#define DY_WIDTH 4
#define DY_ID 5
#define DY_BINDING 1
#include "gradin.glsl"
#define PENDING_WIDTH 4
#define PENDING_ID 10
#define PENDING_BINDING 7
#include "pending.glsl"

layout(std430, set = 0, binding = 0) readonly buffer XBuf { E4 x[]; };
layout(std430, set = 0, binding = 9) writeonly buffer DwBuf { vec4 dw[]; };

layout(push_constant) uniform Params {
    uint C4; // C / 4
    uint H, W, P, Q;
    uint padTop, padLeft;
    uint strips; // ceil(Q / TQ)
    uint runs;   // runs of rows per image
    uint rows;   // rows of dy per run
    uint image0; // image that x, g and y begin with
    uint tiles;  // strips * runs * images of this call
    uint splits; // invocations that share the tiles
    uint split0; // row of dw that the first of them writes
} p;

const uint REACH = (K - 1) / STRIDE; // a row of x meets rows of dy that are up to so far apart
const uint COLS = TQ * STRIDE + K - STRIDE; // columns of x that the strip reads

void main() {
    uint c = gl_GlobalInvocationID.x;
    uint split = gl_GlobalInvocationID.y;
    if (c >= p.C4 || split >= p.splits) return;
    InChannel inC = inChannel(c, p.C4);
    DyChannel dyC = dyChannel(c, p.C4);

    vec4 acc[K * K];
    [[unroll]] for (uint i = 0; i < K * K; i++) acc[i] = vec4(0.0);

    for (uint tile = split; tile < p.tiles; tile += p.splits) {
        uint q0 = tile % p.strips * TQ;
        int row0 = int(tile / p.strips % p.runs * p.rows);
        int row1 = min(row0 + int(p.rows), int(p.P));
        uint n = tile / (p.strips * p.runs);
        uint image = n + p.image0;
        int top = max(row0 * int(STRIDE) - int(p.padTop), 0); // first row of x that the run meets
        int left = int(q0 * STRIDE) - int(p.padLeft);

        vec4 dy[(REACH + 1) * TQ]; // rows row .. row+REACH
        [[unroll]] for (uint i = 0; i < (REACH + 1) * TQ; i++) dy[i] = vec4(0.0);
        for (int row = row0 - int(REACH); row < row1; row++) {
            [[unroll]] for (uint i = 0; i < REACH * TQ; i++) dy[i] = dy[i + TQ];
            [[unroll]] for (uint t = 0; t < TQ; t++) dy[REACH * TQ + t] = vec4(0.0);
            if (row + int(REACH) < row1) {
                [[unroll]] for (uint t = 0; t < TQ; t++) {
                    uint near = min(q0 + t, p.Q - 1);
                    uint at = ((n * p.P + uint(row) + REACH) * p.Q + near) * p.C4 + c;
                    vec4 v = dyValue(at, dyC, image, c, p.C4);
                    dy[REACH * TQ + t] = near == q0 + t ? v : vec4(0.0);
                }
            }
            // The STRIDE rows of x that row `row` of dy is the first to meet.
            [[unroll]] for (uint i = 0; i < STRIDE; i++) {
                int h = row * int(STRIDE) - int(p.padTop) + int(K - STRIDE + i);
                if (h >= top && h < int(p.H)) {
                    vec4 v[COLS];
                    [[unroll]] for (uint u = 0; u < COLS; u++) {
                        int col = left + int(u);
                        uint near = uint(clamp(col, 0, int(p.W) - 1));
                        v[u] = inValue(load4(x[((n * p.H + uint(h)) * p.W + near) * p.C4 + c]), inC, image, c, p.C4);
                        if (uint(col) != near) v[u] = vec4(0.0); // a padded tap is 0 after all that is pending
                    }
                    [[unroll]] for (uint j = 0; j <= REACH; j++) {
                        int r = int(K - STRIDE + i) - int(STRIDE * j); // filter row that joins row h to row row+j of dy
                        if (r >= 0) {
                            [[unroll]] for (uint s = 0; s < K; s++) {
                                [[unroll]] for (uint t = 0; t < TQ; t++) {
                                    acc[r * int(K) + int(s)] += dy[j * TQ + t] * v[t * STRIDE + s];
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    [[unroll]] for (uint i = 0; i < K * K; i++) dw[((p.split0 + split) * K * K + i) * p.C4 + c] = acc[i];
}
