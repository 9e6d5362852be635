// SPDX-License-Identifier: Apache-2.0
#include "embedding_codes.h"

#include <algorithm>
#include <array>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "parallel.h"
#include "simd.h"

namespace abis {
namespace {

constexpr std::size_t kLookBlock = 16384;  // codes a thread takes at a time: some 0.02 milliseconds
constexpr std::size_t kFetchAhead = 4096;  // bytes; the CPU's own fetching stops at the end of a page
constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kAtOnce = 256;  // bytes of a code whose sums 16 bits hold
static_assert(kLookBlock % kCodesTogether == 0 && kAtOnce % kCodeStep == 0);
static_assert(2 * kAtOnce * kMostOfCorner < 1 << 16);

// What a probe says of the corners of some bytes, kAtOnce at most.
struct Corners {
    const std::uint8_t *lower, *upper;  // halves
    std::size_t bytes;
};

using Sums = std::array<std::uint32_t, kCodesTogether>;

// Adds up what these bytes of kCodesTogether codes say; all of it in the way of one instruction set.
struct PlainSums {
    ABIS_INLINE static void add(const Corners& corners, const std::uint8_t* codes, Sums& sums) {
        for (std::size_t j = 0; j < corners.bytes; ++j) {
            const std::uint8_t *lower = corners.lower + j * kCorners, *upper = corners.upper + j * kCorners;
            for (std::size_t k = 0; k < kCodesTogether; ++k) {
                const std::uint8_t code = codes[j * kCodesTogether + k];
                sums[k] += lower[code & 15] + std::uint32_t{upper[code >> 4]};
            }
        }
    }
};

template <class SumsOf>
ABIS_INLINE void evidence_of(const std::uint8_t* corners, const EmbeddingCodesView& codes, std::size_t begin,
                             std::size_t end, const float* by_sum, float* evidence) {
    const std::uint8_t* bytes = codes.bytes + begin * codes.length;
    for (std::size_t first = begin; first < end; first += kCodesTogether) {
        alignas(kCacheLine) Sums sums{};
        for (std::size_t j = 0; j < codes.length; j += kAtOnce) {
            const std::uint8_t* lower = corners + j * kCorners;
            const Corners own{lower, lower + codes.length * kCorners, std::min(kAtOnce, codes.length - j)};
            const std::size_t length = own.bytes * kCodesTogether;
            for (std::size_t k = 0; k < length; k += kCacheLine) __builtin_prefetch(bytes + kFetchAhead + k);
            SumsOf::add(own, bytes, sums);
            bytes += length;
        }
        const std::size_t n = std::min(kCodesTogether, end - first);
        for (std::size_t k = 0; k < n; ++k) evidence[first + k] = by_sum[sums[k]];
    }
}

void evidence_base(const std::uint8_t* corners, const EmbeddingCodesView& codes, std::size_t begin, std::size_t end,
                   const float* by_sum, float* evidence) {
    evidence_of<PlainSums>(corners, codes, begin, end, by_sum, evidence);
}

#if defined(__x86_64__)
// Of bytes k of each run of kCodesTogether `all` holds the sums where k is even, and above them those where it is odd,
// which are in `odd`: each with each, in the order of k.
ABIS_TARGET_AVX2 inline __m256i in_order(__m256i all, __m256i odd) {
    const __m256i even = _mm256_sub_epi16(all, _mm256_slli_epi16(odd, 8));
    const __m128i first = _mm_add_epi16(_mm256_castsi256_si128(even), _mm256_extracti128_si256(even, 1));
    const __m128i second = _mm_add_epi16(_mm256_castsi256_si128(odd), _mm256_extracti128_si256(odd, 1));
    return _mm256_set_m128i(_mm_unpackhi_epi16(first, second), _mm_unpacklo_epi16(first, second));
}

ABIS_TARGET_AVX2 inline __m256i load_32(const void* bytes) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(bytes));
}

struct Avx2Sums {
    ABIS_TARGET_AVX2 static inline void add(const Corners& corners, const std::uint8_t* codes, Sums& sums) {
        const __m256i half = _mm256_set1_epi8(15);
        __m256i all = _mm256_setzero_si256(), odd = all;
        for (std::size_t j = 0; j < corners.bytes; j += sizeof(__m256i) / kCodesTogether) {
            const __m256i both = load_32(codes + j * kCodesTogether);
            const __m256i lower = _mm256_and_si256(both, half);
            const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(both, 4), half);
            const __m256i sum = _mm256_add_epi8(_mm256_shuffle_epi8(load_32(corners.lower + j * kCorners), lower),
                                                _mm256_shuffle_epi8(load_32(corners.upper + j * kCorners), upper));
            all = _mm256_add_epi16(all, sum);
            odd = _mm256_add_epi16(odd, _mm256_srli_epi16(sum, 8));
        }
        const __m256i more = in_order(all, odd);
        auto* out = reinterpret_cast<__m256i*>(sums.data());
        _mm256_store_si256(
            out, _mm256_add_epi32(_mm256_load_si256(out), _mm256_cvtepu16_epi32(_mm256_castsi256_si128(more))));
        _mm256_store_si256(out + 1, _mm256_add_epi32(_mm256_load_si256(out + 1),
                                                     _mm256_cvtepu16_epi32(_mm256_extracti128_si256(more, 1))));
    }
};

// GCC warns of lanes that intrinsics without a mask leave undefined.
ABIS_TARGET_AVX512 inline __m256i folded(__m512i a) {
    return _mm256_add_epi16(_mm512_castsi512_si256(a), _mm512_maskz_extracti64x4_epi64(0xF, a, 1));
}

struct Avx512Sums {
    ABIS_TARGET_AVX512 static inline void add(const Corners& corners, const std::uint8_t* codes, Sums& sums) {
        const __m512i half = _mm512_set1_epi8(15);
        __m512i all = _mm512_setzero_si512(), odd = all;
        for (std::size_t j = 0; j < corners.bytes; j += sizeof(__m512i) / kCodesTogether) {
            const __m512i both = _mm512_loadu_si512(codes + j * kCodesTogether);
            const __m512i lower = _mm512_and_si512(both, half);
            const __m512i upper = _mm512_and_si512(_mm512_srli_epi16(both, 4), half);
            const __m512i sum =
                _mm512_add_epi8(_mm512_shuffle_epi8(_mm512_loadu_si512(corners.lower + j * kCorners), lower),
                                _mm512_shuffle_epi8(_mm512_loadu_si512(corners.upper + j * kCorners), upper));
            all = _mm512_add_epi16(all, sum);
            odd = _mm512_add_epi16(odd, _mm512_srli_epi16(sum, 8));
        }
        const __m512i more = _mm512_maskz_cvtepu16_epi32(0xFFFF, in_order(folded(all), folded(odd)));
        _mm512_store_si512(sums.data(), _mm512_add_epi32(_mm512_load_si512(sums.data()), more));
    }
};

ABIS_TARGET_AVX2 void evidence_avx2(const std::uint8_t* corners, const EmbeddingCodesView& codes, std::size_t begin,
                                    std::size_t end, const float* by_sum, float* evidence) {
    evidence_of<Avx2Sums>(corners, codes, begin, end, by_sum, evidence);
}

ABIS_TARGET_AVX512 void evidence_avx512(const std::uint8_t* corners, const EmbeddingCodesView& codes, std::size_t begin,
                                        std::size_t end, const float* by_sum, float* evidence) {
    evidence_of<Avx512Sums>(corners, codes, begin, end, by_sum, evidence);
}
#endif

}  // namespace

void evidence_of_embedding_codes(const std::uint8_t* corners, const EmbeddingCodesView& codes, const float* by_sum,
                                 unsigned threads, const std::function<void()>& poll, float* evidence) {
    auto* look = evidence_base;
#if defined(__x86_64__)
    if (simd_level() == SimdLevel::avx2) look = evidence_avx2;
    if (simd_level() == SimdLevel::avx512) look = evidence_avx512;
#endif
    for_blocks(
        codes.count, kLookBlock, thread_count(threads),
        [&](std::size_t begin, std::size_t end, unsigned) { look(corners, codes, begin, end, by_sum, evidence); },
        poll);
}

}  // namespace abis
