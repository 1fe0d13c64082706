/* The table of this instruction set and dtype. */
#include "simd.h"

FC_HIDDEN const fc_kernels FC(table) = {
#define X(result, name, arguments) .name = FC(name),
    FC_KERNELS(X)
#undef X
};
