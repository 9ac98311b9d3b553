// All kernels in one module.
#include "resample.cu"
#include "tiles.cu"
#include "blend.cu"
#include "reform.cu"
#include "distance.cu"
#include "raycast.cu"
#include "ceilings.cu"
