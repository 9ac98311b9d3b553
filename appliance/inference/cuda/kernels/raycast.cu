// Volume rendering: appliance/imaging/render.py, _cast, ray for ray; its comments say why each step is as it is.
#include "common.cuh"

#define BLOCK_SIDE 8
#define COARSE_SIDE 4
#define TABLE_FROM -256
#define TABLE_SIZE 2304
#define HAZE 0.012f
#define STEP 0.7f

struct Vector {
    float x, y, z;
};

__device__ inline Vector vector(const float* v) { return Vector{v[0], v[1], v[2]}; }
__device__ inline float dot(Vector a, Vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
__device__ inline Vector along(Vector from, Vector direction, float t) {
    return Vector{from.x + t * direction.x, from.y + t * direction.y, from.z + t * direction.z};
}
__device__ inline Vector unit(Vector v) {
    float size = sqrtf(dot(v, v));
    return Vector{v.x / size, v.y / size, v.z / size};
}

// An array (z, y, x).
template <class Voxel>
struct Grid {
    const Voxel* voxels;
    int nz, ny, nx;
};

// Trilinear value; the caller keeps the place inside.
template <class Voxel>
__device__ inline float fetch(const Grid<Voxel>& grid, float z, float y, float x) {
    int i = int(z), j = int(y), k = int(x);
    float dz = z - i, dy = y - j, dx = x - k;
    const Voxel* at = grid.voxels + (u64(i) * grid.ny + j) * grid.nx + k;
    u64 row = grid.nx, plane = u64(grid.ny) * grid.nx;
    float a = at[0] + (float(at[1]) - at[0]) * dx;
    float b = at[row] + (float(at[row + 1]) - at[row]) * dx;
    float c = at[plane] + (float(at[plane + 1]) - at[plane]) * dx;
    float d = at[plane + row] + (float(at[plane + row + 1]) - at[plane + row]) * dx;
    float e = a + (b - a) * dy, f = c + (d - c) * dy;
    return e + (f - e) * dz;
}

__device__ inline float coarse_opacity(const Grid<float>& coarse, Vector p) {
    float z = p.z / COARSE_SIDE - 0.375f, y = p.y / COARSE_SIDE - 0.375f, x = p.x / COARSE_SIDE - 0.375f;
    if (z < 0 || y < 0 || x < 0 || z >= coarse.nz - 1 || y >= coarse.ny - 1 || x >= coarse.nx - 1) return 0.0f;
    return fetch(coarse, z, y, x);
}

// Extinction and colour of an attenuation in the two tables.
struct Tables {
    const float *first, *second;  // (TABLE_SIZE, 4): red, green, blue, extinction per mm
};

__device__ inline int row_of(float value) { return least(most(int(value) - TABLE_FROM, 0), TABLE_SIZE - 1); }
__device__ inline bool hazy(const Tables& tables, int at) { return tables.first[4 * at + 3] < HAZE && tables.second[4 * at + 3] < HAZE; }

// What a picture is made from.
struct Scene {
    Grid<i16> field;
    Grid<u8> tone;
    Grid<u8> blocks;
    Grid<float> coarse;
    Tables tables;
    Vector toward, light, half_way;
    float step_mm;
};

// A ray's state: colour so far, what still shows through, the shadow it has found (negative: none yet).
struct Ray {
    float red, green, blue, clear, shadow;
};

// How far along the ray the visible part begins and ends; false where it misses.
__device__ inline bool clip(float origin, float direction, float high, float* first, float* last) {
    if (fabsf(direction) < 1e-9f) return 2.0f <= origin && origin <= high;
    float a = (2.0f - origin) / direction, b = (high - origin) / direction;
    *first = fmaxf(*first, fminf(a, b));
    *last = fminf(*last, fmaxf(a, b));
    return true;
}

// Length to the wall of the 8-voxel block along one axis.
__device__ inline float to_wall(float place, float direction) {
    if (fabsf(direction) < 1e-9f) return 1e9f;
    float wall = float(int(place) / BLOCK_SIDE * BLOCK_SIDE + (direction > 0 ? BLOCK_SIDE : 0));
    return (wall - place) / direction;
}

// Shades one sample into the ray.
__device__ inline void shade(const Scene& s, Vector p, int at, Ray* ray) {
    const float *one = s.tables.first + 4 * at, *two = s.tables.second + 4 * at;
    float mix = fetch(s.tone, p.z, p.y, p.x) * (1 / 255.0f);
    float extinction = one[3] * (1 - mix) + two[3] * mix;
    float opacity = 1 - expf(-extinction * s.step_mm);
    if (opacity < 0.002f) return;
    mix = two[3] * mix / extinction;
    float gx = fetch(s.field, p.z, p.y, p.x + 1.3f) - fetch(s.field, p.z, p.y, p.x - 1.3f);
    float gy = fetch(s.field, p.z, p.y + 1.3f, p.x) - fetch(s.field, p.z, p.y - 1.3f, p.x);
    float gz = fetch(s.field, p.z + 1.3f, p.y, p.x) - fetch(s.field, p.z - 1.3f, p.y, p.x);
    float size = sqrtf(gx * gx + gy * gy + gz * gz) + 1e-3f;
    Vector normal = Vector{-gx / size, -gy / size, -gz / size};
    float surface = fminf(size / 120.0f, 1.0f);
    float groove = coarse_opacity(s.coarse, along(p, normal, 7.0f));
    if (ray->shadow < 0 && ray->clear * opacity > 0.05f) {
        float dark = 0.0f;
        for (int k = 1; k < 9; ++k) dark += coarse_opacity(s.coarse, along(along(p, s.light, 5.0f + 6.0f * k), normal, 4.0f));
        ray->shadow = expf(-0.22f * dark);
    }
    float cast = ray->shadow >= 0 ? ray->shadow : 1.0f;
    float diffuse = fmaxf(dot(normal, s.light), 0.0f), gleam = fmaxf(dot(normal, s.half_way), 0.0f);
    gleam = gleam * gleam;
    gleam = gleam * gleam;
    gleam = gleam * gleam;
    gleam = gleam * gleam * gleam;
    float lit = 0.26f + 0.26f * fmaxf(dot(normal, s.toward), 0.0f) + 0.86f * diffuse * (0.35f + 0.65f * cast);
    lit = lit * surface + 0.62f * (1 - surface);
    lit = lit * (1 - 0.62f * fminf(groove, 1.0f));
    float shine = 0.26f * gleam * surface * cast, weight = ray->clear * opacity;
    ray->red += weight * ((one[0] * (1 - mix) + two[0] * mix) * lit + shine);
    ray->green += weight * ((one[1] * (1 - mix) + two[1] * mix) * lit + shine);
    ray->blue += weight * ((one[2] * (1 - mix) + two[2] * mix) * lit + shine);
    ray->clear *= 1 - opacity;
}

// A surface lies within the last stride: halve it until its place is known.
__device__ inline float refined(const Scene& s, Vector origin, Vector back_to, float t) {
    float back = t - 2 * STEP, hit = t;
    for (int i = 0; i < 5; ++i) {
        float middle = (back + hit) / 2;
        Vector p = along(origin, back_to, middle);
        if (hazy(s.tables, row_of(fetch(s.field, p.z, p.y, p.x)))) back = middle;
        else hit = middle;
    }
    return hit + 0.05f;
}

__device__ inline u8 shown(float colour) { return u8(powf(fminf(colour, 1.0f), 0.80f) * 255); }

// One picture, (size, size, 3). camera: middle (x, y, z in voxels), right, up, toward; twelve numbers.
//
// Bytes: what of the scene the rays touch: the surface's neighbourhood, once from memory (2 + 1 bytes per voxel, some 20 MB of a heart),
// the rest out of L1 and L2; 3 written per pixel. Work: 40 to 120 samples per ray of 8 gathers, those on the surface of 64 more. Ceiling:
// L1 gather rate and divergence of neighbouring rays, not memory: 1024 x 1024 rays x 80 samples x 16 gathers are 1.3 G gathers.
extern "C" __global__ void raycast(
    const i16* __restrict__ field, const u8* __restrict__ tone, int nz, int ny, int nx, const float* __restrict__ table0,
    const float* __restrict__ table1, const u8* __restrict__ blocks, int block_y, int block_x, const float* __restrict__ coarse,
    int coarse_z, int coarse_y, int coarse_x, const float* __restrict__ camera, float scale, int size, float reach, float spacing,
    u8* __restrict__ out) {
    int column = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
    if (row >= size || column >= size) return;
    Scene s;
    s.field = Grid<i16>{field, nz, ny, nx};
    s.tone = Grid<u8>{tone, nz, ny, nx};
    s.blocks = Grid<u8>{blocks, 0, block_y, block_x};
    s.coarse = Grid<float>{coarse, coarse_z, coarse_y, coarse_x};
    s.tables = Tables{table0, table1};
    Vector middle = vector(camera), right = vector(camera + 3), up = vector(camera + 6);
    s.toward = vector(camera + 9);
    s.light = unit(along(along(along(Vector{0, 0, 0}, s.toward, 0.74f), right, -0.42f), up, 0.53f));
    s.half_way = unit(along(s.light, s.toward, 1.0f));
    s.step_mm = STEP * spacing;
    u8* pixel = out + 3 * (u64(row) * size + column);
    pixel[0] = pixel[1] = pixel[2] = 0;
    float u = (column - (size - 1) / 2.0f) * scale, v = ((size - 1) / 2.0f - row) * scale;
    Vector origin = along(along(along(middle, right, u), up, v), s.toward, reach);
    Vector back = Vector{-s.toward.x, -s.toward.y, -s.toward.z};
    float first = 0.0f, last = 2 * reach;
    bool seen = clip(origin.x, back.x, nx - 3.0f, &first, &last);
    seen = clip(origin.y, back.y, ny - 3.0f, &first, &last) && seen;
    seen = clip(origin.z, back.z, nz - 3.0f, &first, &last) && seen;
    if (!seen || first >= last) return;
    Ray ray = Ray{0, 0, 0, 1, -1};
    bool striding = false;
    float t = first + STEP * ((u32(row * 73 + column * 151 + row * column) % 64u) / 64.0f);
    while (t < last && ray.clear > 0.04f) {
        Vector p = along(origin, back, t);
        int away = blocks[(u64(int(p.z) / BLOCK_SIDE) * block_y + int(p.y) / BLOCK_SIDE) * block_x + int(p.x) / BLOCK_SIDE];
        if (away > 0) {
            float leave = fminf(fminf(to_wall(p.x, back.x), to_wall(p.y, back.y)), to_wall(p.z, back.z));
            t += STEP * (int(fmaxf(leave, (away - 1.0f) * BLOCK_SIDE) / STEP) + 1);
            striding = false;
            continue;
        }
        int at = row_of(fetch(s.field, p.z, p.y, p.x));
        if (hazy(s.tables, at)) {
            t += 2 * STEP;
            striding = true;
            float thin = table0[4 * at + 3] * 2 * s.step_mm, haze = thin * ray.clear * 0.55f;
            if (haze > 0 && tone[(u64(int(p.z)) * ny + int(p.y)) * nx + int(p.x)] < 128) {
                ray.red += haze * table0[4 * at];
                ray.green += haze * table0[4 * at + 1];
                ray.blue += haze * table0[4 * at + 2];
                ray.clear *= 1 - thin;
            }
            continue;
        }
        if (striding) {
            striding = false;
            t = refined(s, origin, back, t);
            continue;
        }
        t += STEP;
        shade(s, p, at, &ray);
    }
    pixel[0] = shown(ray.red), pixel[1] = shown(ray.green), pixel[2] = shown(ray.blue);
}
