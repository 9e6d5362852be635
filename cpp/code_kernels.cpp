// SPDX-License-Identifier: Apache-2.0
#include "code_kernels.h"

namespace abis {

// One instruction set: a struct of the bodies compiled for it.
#define ABIS_CODE_KERNELS(NAME, TARGET, HAS_POPCOUNT)                                                        \
    struct NAME {                                                                                            \
        TARGET static void encode(const Cylinder* cylinders, std::size_t n, MinutiaCode* codes) {            \
            body::encode(cylinders, n, codes);                                                               \
        }                                                                                                    \
        TARGET static int votes(const CodedProbe& probe, std::size_t leading, const CodedView& reference) {  \
            return body::votes<HAS_POPCOUNT>(probe, leading, reference);                                     \
        }                                                                                                    \
        TARGET static std::size_t hits(const CodedProbe& probe, const CodedView& reference, CodeHit* hits) { \
            return body::hits<HAS_POPCOUNT>(probe, reference, hits);                                         \
        }                                                                                                    \
        static constexpr CodeKernels table{encode, votes, hits};                                             \
    }

namespace {

ABIS_CODE_KERNELS(Base, , false);
#if defined(__x86_64__)
ABIS_CODE_KERNELS(Avx2, ABIS_TARGET_AVX2, true);
ABIS_CODE_KERNELS(Avx512, ABIS_TARGET_AVX512, true);
#endif

}  // namespace

const CodeKernels& code_kernels() {
#if defined(__x86_64__)
    static const CodeKernels& chosen = simd_level() == SimdLevel::avx512 ? Avx512::table
                                       : simd_level() == SimdLevel::avx2 ? Avx2::table
                                                                         : Base::table;
    return chosen;
#else
    return Base::table;
#endif
}

}  // namespace abis
