// A CUDA driver library without a card, for testing pycuda_driver.py over the real pycuda: memory is the processor's, streams are done at
// once, and kernels are those that hostcuda.py compiles (HOST_KERNELS names the library, HOST_PARAMETERS "name size,size;name ...").
#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default"))) int

static const size_t TOTAL = size_t(8) << 30;
static std::map<uintptr_t, size_t> allocated;
static std::vector<std::function<void()>>* recording = nullptr;

struct Kernel {
    void (*host)(const unsigned*, void**);
    std::vector<size_t> sizes;
};

static int done(std::function<void()> work) {
    if (recording) recording->push_back(work);
    else work();
    return 0;
}

static std::vector<size_t> sizes_of(const std::string& name) {
    std::stringstream all(std::getenv("HOST_PARAMETERS"));
    std::string entry;
    while (std::getline(all, entry, ';')) {
        std::stringstream parts(entry);
        std::string found, size;
        parts >> found;
        if (found != name) continue;
        std::vector<size_t> sizes;
        while (parts >> size) sizes.push_back(std::stoul(size));
        return sizes;
    }
    return {};
}

API cuInit(unsigned) { return 0; }
API cuDriverGetVersion(int* version) { return *version = 13000, 0; }
API cuDeviceGetCount(int* count) { return *count = 1, 0; }
API cuDeviceGet(int* device, int number) { return *device = number, number ? 101 : 0; }
API cuDeviceGetName(char* name, int length, int) { return std::strncpy(name, "stand-in", length), 0; }
API cuDeviceComputeCapability(int* major, int* minor, int) { return *major = 8, *minor = 6, 0; }
API cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = TOTAL, 0; }
API cuDeviceGetAttribute(int* value, int attribute, int) { return *value = attribute == 16 ? 26 : attribute == 13 ? 1200000 : 1, 0; }
API cuDevicePrimaryCtxRetain(void** context, int) { return *context = (void*)0x10, 0; }
API cuDevicePrimaryCtxRelease_v2(int) { return 0; }
API cuCtxPushCurrent_v2(void*) { return 0; }
API cuCtxPopCurrent_v2(void** context) { return *context = (void*)0x10, 0; }
API cuCtxGetDevice(int* device) { return *device = 0, 0; }
API cuCtxSynchronize() { return 0; }
API cuCtxDetach(void*) { return 0; }
API cuGetErrorString(int status, const char** text) { return *text = status == 2 ? "out of memory" : "failed", 0; }

API cuMemGetInfo_v2(size_t* free_bytes, size_t* total) {
    size_t held = 0;
    for (auto& one : allocated) held += one.second;
    return *free_bytes = TOTAL - held, *total = TOTAL, 0;
}
API cuMemAlloc_v2(uintptr_t* pointer, size_t size) {
    size_t free_bytes, total;
    cuMemGetInfo_v2(&free_bytes, &total);
    if (size > free_bytes || size > (size_t(1) << 30)) return 2;
    *pointer = (uintptr_t)std::aligned_alloc(256, (size + 255) / 256 * 256);
    std::memset((void*)*pointer, 0xff, size);
    allocated[*pointer] = size;
    return 0;
}
API cuMemFree_v2(uintptr_t pointer) {
    if (!allocated.erase(pointer)) return 1;
    return std::free((void*)pointer), 0;
}
API cuMemHostAlloc(void** pointer, size_t size, unsigned) { return *pointer = std::malloc(size), 0; }
API cuMemFreeHost(void* pointer) { return std::free(pointer), 0; }
API cuMemcpyHtoDAsync_v2(uintptr_t to, const void* from, size_t size, void*) { return done([=] { std::memcpy((void*)to, from, size); }); }
API cuMemcpyDtoHAsync_v2(void* to, uintptr_t from, size_t size, void*) { return done([=] { std::memcpy(to, (void*)from, size); }); }
API cuMemsetD8Async(uintptr_t to, unsigned char value, size_t size, void*) { return done([=] { std::memset((void*)to, value, size); }); }

API cuStreamCreate(void** stream, unsigned) {
    static uintptr_t next = 0x100;
    return *stream = (void*)(next++), 0;
}
API cuStreamDestroy_v2(void*) { return 0; }
API cuStreamSynchronize(void*) { return recording ? 900 : 0; }
API cuStreamWaitEvent(void*, void*, unsigned) { return 0; }
API cuEventCreate(void** event, unsigned) { return *event = (void*)0x20, 0; }
API cuEventDestroy_v2(void*) { return 0; }
API cuEventRecord(void*, void*) { return 0; }
API cuEventSynchronize(void*) { return 0; }
API cuEventElapsedTime_v2(float* ms, void*, void*) { return *ms = 1.5f, 0; }

API cuModuleLoadDataEx(void** module, const void* image, unsigned, void*, void*) {
    *module = (void*)0x30;
    return std::memcmp(image, "no kernels", 10) ? 0 : 209;
}
API cuModuleUnload(void*) { return 0; }
API cuModuleGetFunction(void** function, void*, const char* name) {
    static void* library = dlopen(std::getenv("HOST_KERNELS"), RTLD_NOW);
    auto host = (void (*)(const unsigned*, void**))dlsym(library, (std::string("host_") + name).c_str());
    if (!host) return 500;
    return *function = new Kernel{host, sizes_of(name)}, 0;
}
API cuFuncSetBlockShape(void*, int, int, int) { return 0; }
API cuFuncGetAttribute(int* value, int, void*) { return *value = 0, 0; }
API cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned, void*, void**,
                   void** extra) {
    auto kernel = (Kernel*)function;
    std::string buffer((const char*)extra[1], *(size_t*)extra[3]);
    size_t end = 0;
    for (size_t size : kernel->sizes) end = (end + size - 1) / size * size + size;
    if (end != buffer.size()) return 1;  // as many bytes as the kernel's parameters take, or they were packed wrongly
    return done([=]() mutable {
        std::vector<void*> arguments;
        size_t at = 0;
        for (size_t size : kernel->sizes) {
            at = (at + size - 1) / size * size;
            arguments.push_back(&buffer[at]);
            at += size;
        }
        unsigned shape[6] = {gx, gy, gz, bx, by, bz};
        kernel->host(shape, arguments.data());
    });
}

API cuStreamBeginCapture_v2(void*, int) { return recording = new std::vector<std::function<void()>>(), 0; }
API cuStreamEndCapture(void*, void** graph) { return *graph = recording, recording = nullptr, 0; }
API cuGraphInstantiateWithFlags(void** ready, void* graph, unsigned long long) { return *ready = graph, 0; }
API cuGraphDestroy(void*) { return 0; }
API cuGraphLaunch(void* graph, void*) {
    for (auto& step : *(std::vector<std::function<void()>>*)graph) step();
    return 0;
}
