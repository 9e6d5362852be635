// SPDX-License-Identifier: Apache-2.0
#include "code_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace abis {

// One instruction set: a struct of the bodies compiled for it.
#define ABIS_CODE_KERNELS(NAME, TARGET, GROUP, HAS_POPCOUNT)                                                 \
    struct NAME {                                                                                            \
        TARGET static void encode(const Cylinder* cylinders, std::size_t n, MinutiaCode* codes) {            \
            body::encode(cylinders, n, codes);                                                               \
        }                                                                                                    \
        TARGET static Votes votes(const CodedProbe& probe, const CodedView& reference) {                     \
            return body::votes<GROUP, HAS_POPCOUNT>(probe, reference);                                       \
        }                                                                                                    \
        TARGET static std::size_t hits(const CodedProbe& probe, const CodedView& reference, CodeHit* hits) { \
            return body::hits<GROUP, HAS_POPCOUNT>(probe, reference, hits);                                  \
        }                                                                                                    \
        static constexpr CodeKernels table{encode, votes, hits};                                             \
    }

namespace {

#if defined(__x86_64__)
// PlainGroup by hand: the compiler takes three times as long with it.
struct Avx512Group {
    template <bool kHasPopcount, bool kBothWords>
    ABIS_TARGET_AVX512 static inline unsigned find(const std::uint64_t* probe_first, const std::uint64_t* probe_second,
                                                   std::uint64_t limits, const std::uint64_t* first,
                                                   const std::uint64_t* second, std::uint64_t* near) {
        const __m512i words = _mm512_loadu_si512(first);
        const __m512i more = kBothWords ? _mm512_loadu_si512(second) : words;
        __m512i counts = _mm512_setzero_si512();
        for (std::size_t i = CodedProbe::kGroup; i-- > 0;) {
            const auto own = static_cast<long long>(probe_first[i]);
            __m512i count = _mm512_popcnt_epi64(_mm512_xor_si512(words, _mm512_set1_epi64(own)));
            if constexpr (kBothWords) {
                const auto own_more = static_cast<long long>(probe_second[i]);
                count =
                    _mm512_add_epi64(count, _mm512_popcnt_epi64(_mm512_xor_si512(more, _mm512_set1_epi64(own_more))));
            }
            counts = _mm512_or_si512(counts << 8, count);
        }
        const __m512i top = _mm512_set1_epi8(-128), most = _mm512_set1_epi64(static_cast<long long>(limits));
        const __m512i found = _mm512_and_si512(_mm512_sub_epi64(_mm512_or_si512(most, top), counts), top);
        const unsigned lanes = _mm512_test_epi64_mask(found, found);
        if (lanes != 0) _mm512_store_si512(near, found);
        return lanes;
    }
};
#endif

ABIS_CODE_KERNELS(Base, , body::PlainGroup, false);
#if defined(__x86_64__)
ABIS_CODE_KERNELS(Avx2, ABIS_TARGET_AVX2, body::PlainGroup, true);
ABIS_CODE_KERNELS(Avx512, ABIS_TARGET_AVX512, Avx512Group, true);
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
