// SPDX-License-Identifier: Apache-2.0
#include "search/code_kernels.h"

#include <cstring>

#include "core/simd.h"

#define ABIS_KERNELS "search/code_kernels-inl.h"
#include "core/each_target.h"

namespace abis {

const CodeKernels& code_kernels() {
    static const CodeKernels& chosen = ABIS_CHOSEN(kTable);
    return chosen;
}

}  // namespace abis
