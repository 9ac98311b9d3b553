// What all kernels share: short names of types, half precision without any header, arithmetic that is rounded as written, trilinear values.
//
// The same sources are compiled by nvcc, by NVRTC (which has no headers) and, for the tests, by a host compiler.
#pragma once

typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// A half as it lies in memory (IEEE 754 binary16).
struct half16 {
    u16 bits;
};

__device__ inline u32 bits_of(float value) {
    union { float f; u32 u; } both;
    both.f = value;
    return both.u;
}

__device__ inline float float_of(u32 bits) {
    union { float f; u32 u; } both;
    both.u = bits;
    return both.f;
}

// Nearest half, ties to even.
__device__ inline half16 to_half(float value) {
    half16 out;
#ifdef __CUDA_ARCH__
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(value));
#else
    u32 bits = bits_of(value), sign = (bits >> 16) & 0x8000u, size = bits & 0x7fffffffu;
    if (size > 0x7f800000u) out.bits = u16(sign | 0x7fffu);
    else if (size >= 0x477ff000u) out.bits = u16(sign | 0x7c00u);
    else if (size < 0x38800000u) {  // a subnormal half: let the addition of 0.5 round it
        out.bits = u16(sign | (bits_of(float_of(size) + 0.5f) - 0x3f000000u));
    } else out.bits = u16(sign | ((size + 0xfffu + ((size >> 13) & 1u) - 0x38000000u) >> 13));
#endif
    return out;
}

__device__ inline float to_float(half16 value) {
#ifdef __CUDA_ARCH__
    float out;
    asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(value.bits));
    return out;
#else
    u32 sign = u32(value.bits & 0x8000u) << 16, rest = u32(value.bits & 0x7fffu) << 13;
    if (rest >= 0x0f800000u) return float_of(sign | (rest + 0x70000000u));        // infinity and NaN
    if (rest >= 0x00800000u) return float_of(sign | (rest + 0x38000000u));        // normal
    return float_of(sign | bits_of(float_of(rest + 0x38800000u) - float_of(0x38800000u)));
#endif
}

__device__ inline float to_float(float value) { return value; }

struct Pair {
    float low, high;
};

// Two neighbours in one write; the place is even.
__device__ inline void store_two(half16* at, float low, float high) { *(u32*)at = u32(to_half(low).bits) | u32(to_half(high).bits) << 16; }
__device__ inline void store_two(float* at, float low, float high) { *(Pair*)at = Pair{low, high}; }

// The processor's engine does not contract a product and a sum into one rounding, so neither may we where the two must agree to the bit.
#ifdef __CUDA_ARCH__
__device__ inline double times(double a, double b) { return __dmul_rn(a, b); }
__device__ inline double plus(double a, double b) { return __dadd_rn(a, b); }
__device__ inline float times(float a, float b) { return __fmul_rn(a, b); }
#else
__device__ inline double times(double a, double b) { return a * b; }
__device__ inline double plus(double a, double b) { return a + b; }
__device__ inline float times(float a, float b) { return a * b; }
#endif

__device__ inline int least(int a, int b) { return a < b ? a : b; }
__device__ inline int most(int a, int b) { return a > b ? a : b; }

// Where a fractional place lies between voxels: appliance/analysis/grids.py, _interpolate.
struct Between {
    int low, high;
    double part;
};

__device__ inline Between between(float at, int size) {
    Between b;
    b.low = least(int(at), most(size - 2, 0));
    b.high = least(b.low + 1, size - 1);
    b.part = double(at) - b.low;
    return b;
}

__device__ inline double mixed(double a, double b, double part) { return plus(times(a, 1.0 - part), times(b, part)); }

// Trilinear value rounded to the nearest integer, halves up: bit for bit what grids.interpolate_to gives.
template <class Voxel>
__device__ inline int trilinear(const Voxel* __restrict__ voxels, int ny, int nx, Between z, Between y, Between x) {
    const Voxel* below = voxels + (u64(z.low) * ny) * nx;
    const Voxel* above = voxels + (u64(z.high) * ny) * nx;
    u64 row = u64(y.low) * nx, next = u64(y.high) * nx;
    double c00 = mixed(below[row + x.low], below[row + x.high], x.part);
    double c01 = mixed(below[next + x.low], below[next + x.high], x.part);
    double c10 = mixed(above[row + x.low], above[row + x.high], x.part);
    double c11 = mixed(above[next + x.low], above[next + x.high], x.part);
    double value = plus(times(mixed(c00, c01, y.part), 1.0 - z.part), times(mixed(c10, c11, y.part), z.part));
    return int(floor(plus(value, 0.5)));
}

// A byte mask on a grid of its own, and where the fine grid's planes, rows and columns lie in it.
struct Coarse {
    const u8* voxels;
    const float *at_z, *at_y, *at_x;
    int nz, ny, nx, unused;
};

__device__ inline int coarse_at(const Coarse& mask, int z, int y, int x) {
    return trilinear(mask.voxels, mask.ny, mask.nx, between(mask.at_z[z], mask.nz), between(mask.at_y[y], mask.ny), between(mask.at_x[x], mask.nx));
}
