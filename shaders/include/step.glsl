// What changes per step: one small buffer that every shader may read. Go twin: kernels.StepScalars.
// The including shader declares the binding: layout(std430, set=0, binding=B) readonly buffer StepBuf { StepScalars step; };
struct StepScalars {
    uint step;        // counter word 0 of Philox
    uint seedLo;
    uint seedHi;
    uint flags;
    float lr;
    float momentum;
    float rho;        // decay of RMSProp's mean square
    float eps;        // RMSProp's, inside the root
    float weightDecay;
    float emaDecay;
    float clipNorm;   // 0: no clipping
    float dropout;    // probability that a pooled feature is dropped
    float dropPath;   // drop rate that block i of n has i/n of
    float smoothing;  // label smoothing
    float reserved0;
    float reserved1;
};
