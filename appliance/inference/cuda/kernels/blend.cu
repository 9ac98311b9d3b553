// From the tiles' answers to the volume's: appliance/inference/sliding.py, to the bit.
#include "common.cuh"

// One axis: for each voxel of the volume the first and last tile that holds it, and the tile that decides its class; for each tile its
// start; the tiles' weights times 256, `side` each.
struct Axis {
    const int *first, *last, *owner, *start;
    const u16* weight;
    int count, side;
};

// Class and share of every voxel. slot_of[z][y][x] of the tiles' grid: the tile's slot, or -1 where it was skipped.
//
// It gathers: each voxel reads the shares of the tiles that hold it (8 at most) and the class of the one that owns it, so nothing is added
// up in memory, nothing has to be cleared first, and the result does not depend on the order of the tiles. Bytes: 1 read per tile voxel, 1
// read and 2 written per voxel: 5 with the usual overlap of 1.6; adding up in half precision would move 5 per TILE voxel. Ceiling: memory
// bandwidth (30 million voxels: 140 MB, 46 us at 3 TB/s); one trilinear mask value in double precision on cards with 1/64 rate.
// `worst` becomes 1 where a class does not exist.
extern "C" __global__ void blend(
    const Axis* __restrict__ axes, const int* __restrict__ slot_of, const u8* __restrict__ class_slots, const u8* __restrict__ share_slots,
    const Coarse* __restrict__ reach, int everywhere, int class_count, int nz, int ny, int nx, u8* __restrict__ classes,
    u8* __restrict__ share, int* __restrict__ worst) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y, z = blockIdx.z;
    if (x >= nx || y >= ny || z >= nz) return;
    u64 at = (u64(z) * ny + y) * nx + x;
    classes[at] = 0;
    share[at] = 0;
    if (!everywhere && coarse_at(*reach, z, y, x) <= 127) return;
    const Axis &Z = axes[0], &Y = axes[1], &X = axes[2];
    u64 tile_voxels = u64(Z.side) * Y.side * X.side;
    u32 total = 0;
    for (int k = Z.first[z]; k <= Z.last[z]; ++k) {
        int dz = z - Z.start[k];
        float weight_z = Z.weight[k * Z.side + dz];
        for (int j = Y.first[y]; j <= Y.last[y]; ++j) {
            int dy = y - Y.start[j];
            float weight_y = Y.weight[j * Y.side + dy];
            for (int i = X.first[x]; i <= X.last[x]; ++i) {
                int slot = slot_of[(k * Y.count + j) * X.count + i];
                if (slot < 0) continue;
                int dx = x - X.start[i];
                float plane = times(weight_y, float(X.weight[i * X.side + dx])) / 65536.0f;
                u64 inside = (u64(dz) * Y.side + dy) * X.side + dx;
                total += u32(rintf(times(times(float(share_slots[u64(slot) * tile_voxels + inside]), weight_z), plane)));
            }
        }
    }
    share[at] = u8(((total + 127u) & 0xffffu) >> 8);
    int slot = slot_of[(Z.owner[z] * Y.count + Y.owner[y]) * X.count + X.owner[x]];
    if (slot < 0) return;
    int dz = z - Z.start[Z.owner[z]], dy = y - Y.start[Y.owner[y]], dx = x - X.start[X.owner[x]];
    u8 one = class_slots[u64(slot) * tile_voxels + (u64(dz) * Y.side + dy) * X.side + dx];
    if (one >= class_count) atomicMax(worst, 1);
    classes[at] = one;
}
