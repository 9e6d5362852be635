// SPDX-License-Identifier: Apache-2.0
#include "core/simd.h"

#include <array>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace abis {
namespace {

constexpr std::array kLevels = {SimdLevel::base, SimdLevel::avx2, SimdLevel::avx512bw, SimdLevel::avx512};

SimdLevel requested_level() {
    const char* wish = std::getenv("ABIS_SIMD");
    const SimdLevel best = best_simd_level();
    if (wish == nullptr) return best;
    for (const SimdLevel level : kLevels) {
        if (name_of(level) != std::string(wish)) continue;
        if (level <= best) return level;
        throw std::runtime_error(std::string("ABIS_SIMD=") + wish + ": this CPU has " + name_of(best) + " at most");
    }
    throw std::runtime_error(std::string("ABIS_SIMD=") + wish + "; expected base, avx2, avx512bw or avx512");
}

}  // namespace

const char* name_of(SimdLevel level) {
    switch (level) {
        case SimdLevel::avx512:
            return "avx512";
        case SimdLevel::avx512bw:
            return "avx512bw";
        case SimdLevel::avx2:
            return "avx2";
        default:
            return "base";
    }
}

SimdLevel best_simd_level() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 =
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi2");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (avx2 && avx512 && __builtin_cpu_supports("avx512vpopcntdq")) return SimdLevel::avx512;
    if (avx2 && avx512) return SimdLevel::avx512bw;
    if (avx2) return SimdLevel::avx2;
#endif
    return SimdLevel::base;
}

SimdLevel simd_level() {
    static const SimdLevel level = requested_level();
    return level;
}

}  // namespace abis
