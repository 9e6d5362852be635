// SPDX-License-Identifier: Apache-2.0
#include "fingerprint/kernels.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#define ABIS_KERNELS "fingerprint/kernels-inl.h"
#include "core/each_target.h"

namespace abis {

const Kernels& kernels() {
    static const Kernels& chosen = ABIS_CHOSEN(kTable);
    return chosen;
}

}  // namespace abis
