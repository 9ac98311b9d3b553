// What the card itself can do: measured beside every figure of the benchmark.
#include "common.cuh"

struct Four {
    u32 a, b, c, d;
};

// Copies 16 bytes per thread and step. Bytes: 32 per step; it is the memory ceiling.
extern "C" __global__ void copy_ceiling(const Four* __restrict__ from, Four* __restrict__ to, u64 count) {
    u64 stride = u64(gridDim.x) * blockDim.x;
    for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) to[i] = from[i];
}
