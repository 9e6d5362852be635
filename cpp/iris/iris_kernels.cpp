// SPDX-License-Identifier: Apache-2.0
#include "iris/iris_kernels.h"

namespace abis {

#define ABIS_IRIS_KERNELS(NAME, TARGET, HAS_POPCOUNT)                                                          \
    struct NAME {                                                                                              \
        TARGET static float score(const std::uint8_t* probe_bits, const std::uint8_t* probe_mask,              \
                                  const std::uint8_t* reference, std::size_t stride, std::size_t step,         \
                                  std::size_t rotations) {                                                     \
            return body::iris_score<HAS_POPCOUNT>(probe_bits, probe_mask, reference, stride, step, rotations); \
        }                                                                                                      \
        static constexpr IrisKernels table{score};                                                             \
    }

namespace {

ABIS_IRIS_KERNELS(Base, , false);
#if defined(__x86_64__)
ABIS_IRIS_KERNELS(Avx2, ABIS_TARGET_AVX2, true);
ABIS_IRIS_KERNELS(Avx512, ABIS_TARGET_AVX512, true);
#endif

}  // namespace

const IrisKernels& iris_kernels() {
#if defined(__x86_64__)
    static const IrisKernels& chosen = simd_level() == SimdLevel::avx512 ? Avx512::table
                                       : simd_level() == SimdLevel::avx2 ? Avx2::table
                                                                         : Base::table;
    return chosen;
#else
    return Base::table;
#endif
}

}  // namespace abis
