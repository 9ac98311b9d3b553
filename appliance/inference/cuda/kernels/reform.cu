// Reformations and cross-sections: grey values along lines and rays through the volume.
#include "common.cuh"

// Trilinear value at a fractional index, `outside` beyond the volume: appliance/imaging/reformat.py, _slab_kernel.
__device__ inline float value_at(const i16* __restrict__ voxels, int nz, int ny, int nx, float z, float y, float x, float outside) {
    if (!(z >= 0 && y >= 0 && x >= 0 && z <= nz - 1 && y <= ny - 1 && x <= nx - 1)) return outside;
    int i = int(z), j = int(y), k = int(x);
    int k1 = least(k + 1, nx - 1);
    float dz = z - i, dy = y - j, dx = x - k;
    const i16* here = voxels + u64(i) * ny * nx;
    const i16* above = voxels + u64(least(i + 1, nz - 1)) * ny * nx;
    u64 row = u64(j) * nx, next = u64(least(j + 1, ny - 1)) * nx;
    float a = here[row + k] * (1 - dx) + here[row + k1] * dx;
    float b = here[next + k] * (1 - dx) + here[next + k1] * dx;
    float c = above[row + k] * (1 - dx) + above[row + k1] * dx;
    float d = above[next + k] * (1 - dx) + above[next + k1] * dx;
    return (a * (1 - dy) + b * dy) * (1 - dz) + (c * (1 - dy) + d * dy) * dz;
}

// Mean or maximum over a slab for each pixel: `place` and `direction` are index points (n, 3) in (z, y, x), `offsets` steps along the direction.
// direction_of[n] names the pixel's direction: all pixels of a row or column of a picture share one.
//
// Bytes per pixel: 12 of its place, 4 of its direction's number, 4 written, and per step two lines of 4 voxels, mostly out of cache: 20 from memory
// plus what of the volume the surface touches (a curved reformation of 900 x 500: 9 MB and 4 MB). Ceiling: L2 bandwidth and the latency
// of its gathers; 0.45 million pixels of 3 to 20 steps are 10 to 70 us on a large card.
extern "C" __global__ void slab(
    const i16* __restrict__ voxels, int nz, int ny, int nx, const float* __restrict__ place, const float* __restrict__ direction,
    const int* __restrict__ direction_of, const float* __restrict__ offsets, int steps, int maximum, float outside, u64 count,
    float* __restrict__ out) {
    u64 n = u64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (n >= count) return;
    float z = place[3 * n], y = place[3 * n + 1], x = place[3 * n + 2];
    const float* along = direction + 3 * direction_of[n];
    float total = 0.0f, best = outside;
    for (int s = 0; s < steps; ++s) {
        float value = value_at(voxels, nz, ny, nx, z + offsets[s] * along[0], y + offsets[s] * along[1], x + offsets[s] * along[2], outside);
        total += value;
        best = fmaxf(best, value);
    }
    out[n] = maximum ? best : total / steps;
}

// Catmull-Rom weights: appliance/analysis/section_samples.py, _cubic.
__device__ inline void cubic(float t, float* w) {
    w[0] = ((-0.5f * t + 1.0f) * t - 0.5f) * t;
    w[1] = (1.5f * t - 2.5f) * t * t + 1.0f;
    w[2] = ((-1.5f * t + 2.0f) * t + 0.5f) * t;
    w[3] = (0.5f * t - 0.5f) * t * t;
}

// Rays of cross-sections: `frame` (n, 9) holds each section's centre, and its index steps per mm across and up; out (n, rays, samples), NaN
// beyond the volume. `turn` (rays, 2): cosine and sine of each ray.
//
// Bytes: 36 read per section, 4 written per sample; 64 voxels per sample out of L1 and L2, a 5 mm neighbourhood of the line that fits them.
// Ceiling: L1 bandwidth (64 gathers a sample): 2000 sections x 16 x 26 samples are 53 million gathers, some 0.1 ms on a large card.
extern "C" __global__ void section_rays(
    const i16* __restrict__ voxels, int nz, int ny, int nx, const float* __restrict__ frame, const float* __restrict__ turn, int rays,
    int samples, float step_mm, u64 count, float* __restrict__ out) {
    u64 n = u64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (n >= count) return;
    int sample = int(n % samples), ray = int(n / samples % rays);
    const float* f = frame + 9 * (n / (u64(samples) * rays));
    float r = sample * step_mm, c = turn[2 * ray], s = turn[2 * ray + 1];
    float z = f[0] + r * (c * f[3] + s * f[6]), y = f[1] + r * (c * f[4] + s * f[7]), x = f[2] + r * (c * f[5] + s * f[8]);
    int z0 = int(floorf(z)), y0 = int(floorf(y)), x0 = int(floorf(x));
    if (z0 < 1 || y0 < 1 || x0 < 1 || z0 > nz - 3 || y0 > ny - 3 || x0 > nx - 3) {
        out[n] = float_of(0x7fc00000u);
        return;
    }
    float wz[4], wy[4], wx[4];
    cubic(z - z0, wz);
    cubic(y - y0, wy);
    cubic(x - x0, wx);
    float value = 0.0f;
    for (int p = 0; p < 4; ++p)
        for (int q = 0; q < 4; ++q) {
            const i16* line = voxels + (u64(z0 - 1 + p) * ny + (y0 - 1 + q)) * nx + (x0 - 1);
            value += wz[p] * wy[q] * (wx[0] * line[0] + wx[1] * line[1] + wx[2] * line[2] + wx[3] * line[3]);
        }
    out[n] = value;
}

// Class of the nearest voxel along the same rays, 0 beyond the grid: section_samples.label_rays. Bytes: 1 read, 1 written per sample.
extern "C" __global__ void section_labels(
    const u8* __restrict__ classes, int nz, int ny, int nx, const float* __restrict__ frame, const float* __restrict__ turn, int rays,
    int samples, float step_mm, u64 count, u8* __restrict__ out) {
    u64 n = u64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (n >= count) return;
    int sample = int(n % samples), ray = int(n / samples % rays);
    const float* f = frame + 9 * (n / (u64(samples) * rays));
    float r = sample * step_mm, c = turn[2 * ray], s = turn[2 * ray + 1];
    int z = int(rintf(f[0] + r * (c * f[3] + s * f[6]))), y = int(rintf(f[1] + r * (c * f[4] + s * f[7])));
    int x = int(rintf(f[2] + r * (c * f[5] + s * f[8])));
    bool inside = z >= 0 && y >= 0 && x >= 0 && z < nz && y < ny && x < nx;
    out[n] = inside ? classes[(u64(z) * ny + y) * nx + x] : 0;
}
