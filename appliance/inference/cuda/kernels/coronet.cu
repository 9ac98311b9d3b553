// All kernels in one module.
#include "resample.cu"
#include "tiles.cu"
#include "blend.cu"
#include "ceilings.cu"
