// SPDX-License-Identifier: Apache-2.0
// Which instructions this CPU has. Kernels are compiled for each level, see each_target.h, and chosen once.
#pragma once

#define ABIS_INLINE [[gnu::always_inline]] inline

namespace abis {

// Each level has all that the ones before it have.
enum class SimdLevel {
    base,      // what every CPU of the architecture has
    avx2,      // AVX2, POPCNT, BMI2: Intel since Haswell, AMD since Excavator and Zen
    avx512bw,  // AVX-512 F, BW, DQ, VL: Intel since Skylake-SP
    avx512,    // and VPOPCNTDQ: Intel since Ice Lake, AMD since Zen 4
};

const char* name_of(SimdLevel level);

// The best level this CPU has.
SimdLevel best_simd_level();

// The level in use: the best, or the one that the environment variable ABIS_SIMD (base, avx2, avx512bw, avx512) asks
// for. Throws std::runtime_error where that is unknown or more than the CPU has.
SimdLevel simd_level();

}  // namespace abis
