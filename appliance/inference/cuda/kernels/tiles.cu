// Between the fine grid and the network: which tiles are needed, their channels, and what the network says of them.
#include "common.cuh"

// What a channel of the network is made from.
enum Source { FINE_HU = 0, COARSE_MASK = 1, CONSTANT = 2 };

struct Channel {
    int source;
    float constant;
    float padding;
    int unused;
    Coarse mask;
};

// Whether any voxel of a region is wanted: hit[n] becomes 1. A region is (z, y, x) from and to, six ints. Block (., ., n) looks at region n.
//
// Bytes: the coarse mask stays in cache; next to nothing is written. Ceiling: the double operations of one trilinear value per voxel of the regions;
// a block ends early once its region has been hit.
extern "C" __global__ void regions_hit(const Coarse* __restrict__ reach, const int* __restrict__ regions, int count, int* __restrict__ hit) {
    int n = blockIdx.z;
    if (n >= count) return;
    const int* r = regions + 6 * n;
    u32 ny = r[4] - r[1], nx = r[5] - r[2];
    u32 total = u32(r[3] - r[0]) * ny * nx;
    Coarse mask = *reach;
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < total; i += gridDim.x * blockDim.x) {
        if (*(volatile int*)(hit + n)) return;  // another thread's find must be seen
        int x = int(i % nx), y = int(i / nx % ny), z = int(i / nx / ny);
        if (coarse_at(mask, r[0] + z, r[1] + y, r[2] + x) > 127) {
            atomicMax(hit + n, 1);
            return;
        }
    }
}

// Every step-th voxel of the wanted region along each axis, one byte each: what the choice of the tile's size looks at.
// Bytes: 1 written per thinned voxel (0.5 MB of a heart). Far from every ceiling: it takes microseconds.
extern "C" __global__ void thin_reach(const Coarse* __restrict__ reach, int step, int nz, int ny, int nx, u8* __restrict__ out) {
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= u32(nz) * ny * nx) return;
    int x = int(i % nx), y = int(i / nx % ny), z = int(i / nx / ny);
    out[i] = coarse_at(*reach, z * step, y * step, x * step) > 127;
}

// Channels of the tiles cursor[0] .. cursor[0] + batch - 1, raw values as (n, channel, z, y, x); padding beyond the volume.
//
// Normalising belongs to the network's graph. Each thread makes two neighbours along x (a tile's sides are even), so that a warp writes
// whole lines of memory. Bytes per tile voxel: 2 read (attenuation; tiles overlap, but a batch's tiles fit L2 on large
// cards), 2 written per channel in half precision: 8 with three channels, 10 with four; masks come out of cache, a constant is one number.
// Ceiling: memory bandwidth (a tile of 160^3: 33 MB, 11 us at 3 TB/s); two trilinear masks in double precision on cards with 1/64 rate.
template <class Out>
__device__ inline void gather(const i16* __restrict__ hu, int nz, int ny, int nx, const Channel* __restrict__ channels, int channel_count,
                              const int* __restrict__ origins, int tile_count, const int* __restrict__ cursor, int batch, int side_z,
                              int side_y, int side_x, Out* __restrict__ out) {
    u32 tile_voxels = u32(side_z) * side_y * side_x;
    u32 i = 2 * (blockIdx.x * blockDim.x + threadIdx.x);
    int item = blockIdx.y, c = blockIdx.z;
    if (i >= tile_voxels || item >= batch || c >= channel_count) return;
    int x = int(i % side_x), y = int(i / side_x % side_y), z = int(i / side_x / side_y);
    // a last, incomplete batch does its last tile again
    const int* origin = origins + 3 * least(cursor[0] + item, tile_count - 1);
    z += origin[0], y += origin[1], x += origin[2];
    const Channel& channel = channels[c];
    float value[2] = {channel.padding, channel.padding};
    if (z < nz && y < ny) {
        for (int k = 0; k < 2 && x + k < nx; ++k) {
            if (channel.source == FINE_HU) value[k] = hu[(u64(z) * ny + y) * nx + x + k];
            else if (channel.source == COARSE_MASK) value[k] = u8(coarse_at(channel.mask, z, y, x + k));
            else value[k] = channel.constant;
        }
    }
    store_two(out + (u64(item) * channel_count + c) * tile_voxels + i, value[0], value[1]);
}

extern "C" __global__ void gather_half(
    const i16* __restrict__ hu, int nz, int ny, int nx, const Channel* __restrict__ channels, int channel_count,
    const int* __restrict__ origins, int tile_count, const int* __restrict__ cursor, int batch, int side_z, int side_y, int side_x,
    half16* __restrict__ out) {
    gather(hu, nz, ny, nx, channels, channel_count, origins, tile_count, cursor, batch, side_z, side_y, side_x, out);
}

extern "C" __global__ void gather_float(
    const i16* __restrict__ hu, int nz, int ny, int nx, const Channel* __restrict__ channels, int channel_count,
    const int* __restrict__ origins, int tile_count, const int* __restrict__ cursor, int batch, int side_z, int side_y, int side_x,
    float* __restrict__ out) {
    gather(hu, nz, ny, nx, channels, channel_count, origins, tile_count, cursor, batch, side_z, side_y, side_x, out);
}

#define MOST_CLASSES 8

struct Answer {
    int best, share;
};

// Class and share byte of one voxel; its scores are the halves at bit `shift` of `read`.
__device__ inline Answer answer_of(const u32* read, int shift, int classes, u32 members, float* sum) {
    float score[MOST_CLASSES];
    float top = 0.0f;
    Answer answer = Answer{0, 0};
#pragma unroll
    for (int c = 0; c < MOST_CLASSES; ++c) {
        if (c >= classes) break;
        half16 half;
        half.bits = u16(read[c] >> shift);
        score[c] = to_float(half);
        *sum += fabsf(score[c]);
        if (c == 0 || score[c] > top) top = score[c], answer.best = c;
    }
    float all = 0.0f, counted = 0.0f;
#pragma unroll
    for (int c = 0; c < MOST_CLASSES; ++c) {
        if (c >= classes) break;
        float part = expf(score[c] - top);
        all += part;
        if (members >> c & 1u) counted += part;
    }
    answer.share = int(fminf(counted / all, 1.0f) * 255.0f + 0.5f);
    return answer;
}

// The network's class scores (n, classes, voxels) in half precision -> class and share bytes of each tile, and the sum of absolute
// scores per tile in `sums` (NaN if any score is); ``members`` has a bit for each class whose probability counts in the share.
//
// Bytes per voxel: 2 per class read, 2 written: 12 with five classes, against 18 and a second pass for soft-max, arg-max and casts apart.
// Ceiling: memory bandwidth (160^3: 49 MB, 16 us at 3 TB/s). A thread takes two neighbours at a time, and many pairs, so that one atomic
// addition serves them all. At most MOST_CLASSES classes.
extern "C" __global__ void answer_scores(
    const half16* __restrict__ scores, int classes, u32 members, u64 tile_voxels, const int* __restrict__ cursor, int tile_count, int batch,
    u8* __restrict__ class_slots, u8* __restrict__ share_slots, float* __restrict__ sums) {
    int item = blockIdx.y;
    int slot = cursor[0] + item;
    if (item >= batch || slot >= tile_count) return;
    u32 pairs = u32(tile_voxels / 2);
    const u32* from = (const u32*)(scores + u64(item) * classes * tile_voxels);
    u16* class_pairs = (u16*)(class_slots + u64(slot) * tile_voxels);
    u16* share_pairs = (u16*)(share_slots + u64(slot) * tile_voxels);
    float sum = 0.0f;
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < pairs; i += gridDim.x * blockDim.x) {
        u32 read[MOST_CLASSES];
#pragma unroll
        for (int c = 0; c < MOST_CLASSES; ++c) read[c] = c < classes ? from[u64(c) * pairs + i] : 0u;
        Answer low = answer_of(read, 0, classes, members, &sum), high = answer_of(read, 16, classes, members, &sum);
        class_pairs[i] = u16(low.best | high.best << 8);
        share_pairs[i] = u16(low.share | high.share << 8);
    }
    atomicAdd(sums + slot, sum);
}

// The network's own bytes, kept in the tile's slot. Bytes per voxel: 2 read, 2 written; ceiling: memory bandwidth (160^3: 16 MB, 5 us at 3 TB/s).
extern "C" __global__ void answer_bytes(
    const u8* __restrict__ classes, const u8* __restrict__ share, const float* __restrict__ check, u64 tile_voxels,
    const int* __restrict__ cursor, int tile_count, int batch, u8* __restrict__ class_slots, u8* __restrict__ share_slots,
    float* __restrict__ checks) {
    int item = blockIdx.y;
    int slot = cursor[0] + item;
    u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (item >= batch || slot >= tile_count || i >= tile_voxels) return;
    u64 from = u64(item) * tile_voxels + i, to = u64(slot) * tile_voxels + i;
    class_slots[to] = classes[from];
    share_slots[to] = share[from];
    if (i == 0) checks[slot] = check[item];
}

// On to the next batch. One thread: it lets one captured graph serve every batch.
extern "C" __global__ void advance(int* cursor, int batch) { cursor[0] += batch; }
