// SPDX-License-Identifier: Apache-2.0
#include "fingerprint/kernels.h"

namespace abis {

// One instruction set: a struct of the bodies compiled for it.
#define ABIS_KERNELS(NAME, TARGET, HAS_POPCOUNT)                                                                      \
    struct NAME {                                                                                                     \
        TARGET static void similarities(const PreparedView& first, const PreparedView& second, std::uint8_t* out) {   \
            body::similarities<HAS_POPCOUNT>(first, second, out);                                                     \
        }                                                                                                             \
        TARGET static void row_maxima(const std::uint8_t* similarity, std::size_t rows, std::size_t stride,           \
                                      std::uint8_t* most) {                                                           \
            body::row_maxima(similarity, rows, stride, most);                                                         \
        }                                                                                                             \
        TARGET static void compatibilities(const CandidateArrays& candidates, std::size_t n, float* out) {            \
            body::compatibilities(candidates, n, out);                                                                \
        }                                                                                                             \
        TARGET static void relax(const float* compatibility, const float* support, std::size_t n, float gain,         \
                                 float* next) {                                                                       \
            body::relax(compatibility, support, n, gain, next);                                                       \
        }                                                                                                             \
        TARGET static void bend(const AnchorArrays& anchors, const float* from_x, const float* from_y, std::size_t n, \
                                float* x, float* y) {                                                                 \
            body::bend(anchors, from_x, from_y, n, x, y);                                                             \
        }                                                                                                             \
        TARGET static void dot_products(const std::uint16_t* probe, const std::uint16_t* rows, std::size_t stride,    \
                                        const std::int64_t* which, std::size_t count, std::size_t d, float* scores) { \
            body::dot_products(probe, rows, stride, which, count, d, scores);                                         \
        }                                                                                                             \
        TARGET static void rotate(const std::uint16_t* vector, std::size_t d, const float* signs, std::size_t n,      \
                                  float* turned) {                                                                    \
            body::rotate(vector, d, signs, n, turned);                                                                \
        }                                                                                                             \
        static constexpr Kernels table{similarities, row_maxima, compatibilities, relax, bend, dot_products, rotate}; \
    }

namespace {

ABIS_KERNELS(Base, , false);
#if defined(__x86_64__)
ABIS_KERNELS(Avx2, ABIS_TARGET_AVX2, true);
ABIS_KERNELS(Avx512, ABIS_TARGET_AVX512, true);
#endif

}  // namespace

const Kernels& kernels() {
#if defined(__x86_64__)
    static const Kernels& chosen = simd_level() == SimdLevel::avx512 ? Avx512::table
                                   : simd_level() == SimdLevel::avx2 ? Avx2::table
                                                                     : Base::table;
    return chosen;
#else
    return Base::table;
#endif
}

}  // namespace abis
