// SPDX-License-Identifier: Apache-2.0
// Which instructions this CPU has. One body per kernel is compiled for each level and chosen once.
#pragma once

#define ABIS_INLINE [[gnu::always_inline]] inline

#if defined(__x86_64__)
#if defined(__clang__)
#define ABIS_WIDE  // knows no such preference, and would ignore the whole attribute
#else
#define ABIS_WIDE ",prefer-vector-width=512"
#endif
#define ABIS_TARGET_AVX2 [[gnu::target("avx2,popcnt,bmi2")]]
#define ABIS_TARGET_AVX512 [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,popcnt,bmi2" ABIS_WIDE)]]
#endif

namespace abis {

enum class SimdLevel { base, avx2, avx512 };

const char* name_of(SimdLevel level);

// The best level this CPU has.
SimdLevel best_simd_level();

// The level in use: the best, or the one that the environment variable ABIS_SIMD (base, avx2, avx512) asks
// for. Throws std::runtime_error where that is unknown or more than the CPU has.
SimdLevel simd_level();

}  // namespace abis
