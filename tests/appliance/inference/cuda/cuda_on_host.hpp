// CUDA's language on the processor, for the tests: every thread of a launch runs to its end, one after the other. Kernels that make
// threads of a block wait for each other cannot run so; ours do not.
#pragma once
#include <cmath>
#include <cstddef>
#include <tuple>
#include <utility>

#define __global__
#define __device__
#define __forceinline__ inline

struct Three {
    unsigned x, y, z;
};

static thread_local Three threadIdx, blockIdx, blockDim, gridDim;

using std::floor;

template <class T>
inline T atomicAdd(T* at, T value) {
    T before = *at;
    *at = before + value;
    return before;
}

inline int atomicMax(int* at, int value) {
    int before = *at;
    if (value > before) *at = value;
    return before;
}

template <class... A, size_t... I>
inline void run_all(void (*kernel)(A...), Three grid, Three block, void** arguments, std::index_sequence<I...>) {
    std::tuple<A...> given(*static_cast<A*>(arguments[I])...);
    gridDim = grid, blockDim = block;
    for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x)
                for (threadIdx.z = 0; threadIdx.z < block.z; ++threadIdx.z)
                    for (threadIdx.y = 0; threadIdx.y < block.y; ++threadIdx.y)
                        for (threadIdx.x = 0; threadIdx.x < block.x; ++threadIdx.x) kernel(std::get<I>(given)...);
}

template <class... A>
inline void launch_on_host(void (*kernel)(A...), const unsigned* shape, void** arguments) {
    run_all(kernel, Three{shape[0], shape[1], shape[2]}, Three{shape[3], shape[4], shape[5]}, arguments, std::index_sequence_for<A...>{});
}

#define ON_HOST(kernel) \
    extern "C" void host_##kernel(const unsigned* shape, void** arguments) { launch_on_host(kernel, shape, arguments); }
