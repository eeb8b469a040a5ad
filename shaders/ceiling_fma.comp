#version 450
// Arithmetic ceiling of a device: multiply-adds that need nothing but registers.
// y [invocations] float32; overwritten. One invocation: iterations x UNROLL x CHAINS vec4 multiply-adds in CHAINS
// independent chains, enough to hide a latency of four cycles at two vectors a cycle. Shared: none.
// The expression is a*x + b, as in the convolutions, so a driver fuses it or not as it does there. With 0 < a < 1 the
// chains converge to b/(1-a): no value overflows or becomes denormal, which would be slow on CPUs.

layout(local_size_x = 64, local_size_x_id = 0) in;

const uint CHAINS = 4;
const uint UNROLL = 16;

layout(push_constant) uniform Params {
    uint iterations;
    float a;
    float b;
} p;

layout(std430, set = 0, binding = 0) writeonly buffer YBuf { float y[]; };

void main() {
    uint i = gl_GlobalInvocationID.x;
    vec4 c0 = vec4(float(i)) + vec4(0.0, 0.1, 0.2, 0.3);
    vec4 c1 = c0 + 0.5, c2 = c0 + 1.0, c3 = c0 + 1.5;
    for (uint k = 0; k < p.iterations; k++) {
        for (uint u = 0; u < UNROLL; u++) {
            c0 = p.a * c0 + p.b;
            c1 = p.a * c1 + p.b;
            c2 = p.a * c2 + p.b;
            c3 = p.a * c3 + p.b;
        }
    }
    vec4 sum = c0 + c1 + c2 + c3;
    y[i] = sum.x + sum.y + sum.z + sum.w;
}
