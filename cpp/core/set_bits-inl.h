// SPDX-License-Identifier: Apache-2.0
// Included by the headers that each_target.h compiles; see there.
#include <bit>
#include <cstdint>

namespace abis::ABIS_TARGET {
namespace {

// The number of set bits.
[[gnu::always_inline]] inline std::uint64_t set_bits(std::uint64_t v) {
#if defined(__x86_64__) && ABIS_LEVEL == 0
    // No instruction for it: by adding neighbours (Knuth 7.1.3), which vectorises.
    v -= (v >> 1) & 0x5555555555555555U;
    v = (v & 0x3333333333333333U) + ((v >> 2) & 0x3333333333333333U);
    v = (v + (v >> 4)) & 0x0F0F0F0F0F0F0F0FU;
    v += v >> 8;
    v += v >> 16;
    v += v >> 32;
    return v & 0x7F;
#else
    return static_cast<std::uint64_t>(std::popcount(v));
#endif
}

}  // namespace
}  // namespace abis::ABIS_TARGET
