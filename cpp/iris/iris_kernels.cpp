// SPDX-License-Identifier: Apache-2.0
#include "iris/iris_kernels.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/simd.h"
#include "iris/iris_look.h"

#define ABIS_KERNELS "iris/iris_kernels-inl.h"
#include "core/each_target.h"

namespace abis {

const IrisKernels& iris_kernels() {
    static const IrisKernels& chosen = ABIS_CHOSEN(kTable);
    return chosen;
}

}  // namespace abis
