// The CT volume on the network's grid.
#include "common.cuh"

// Trilinear resampling of int16 attenuation to the fine grid, some planes of it, rounded as on the processor.
//
// Bytes: 2 written per fine voxel; the source is read once from memory (2 bytes per source voxel under the box), its eightfold reuse
// comes out of L1 and L2, since neighbouring threads lie side by side along x. For a heart of 30 million fine voxels, over a source of the
// same pitch, 120 MB: 40 us at 3 TB/s, 0.42 ms at the 288 GB/s of a small card. Ceiling: memory on cards with full-rate double
// precision; on cards with 1/64 rate the 22 double operations per voxel bind (0.7 GFLOP: 5 ms at 0.13 TFLOP/s). They buy equality to the
// bit with the processor, which every later stage of the analysis rests on.
extern "C" __global__ void resample_volume(
    const i16* __restrict__ source, int nz, int ny, int nx, const float* __restrict__ at_z, const float* __restrict__ at_y,
    const float* __restrict__ at_x, i16* __restrict__ out, int first_plane, int planes, int rows, int columns) {
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    int plane = blockIdx.z;
    if (x >= columns || y >= rows || plane >= planes) return;
    int z = first_plane + plane;
    int value = trilinear(source, ny, nx, between(at_z[z], nz), between(at_y[y], ny), between(at_x[x], nx));
    out[(u64(z) * rows + y) * columns + x] = i16(value);
}
