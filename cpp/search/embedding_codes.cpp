// SPDX-License-Identifier: Apache-2.0
#include "search/embedding_codes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#define ABIS_TARGET_AVX2 [[gnu::target("avx2,popcnt,bmi2")]]
#define ABIS_TARGET_AVX512 [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi2")]]
#endif

#include "core/parallel.h"
#include "core/simd.h"
#include "fingerprint/kernels.h"

namespace abis {
namespace {

constexpr std::size_t kLookBlock = 16384;      // codes a thread takes at a time: some 0.02 milliseconds
constexpr std::size_t kEncodeBlock = 256;      // vectors a thread takes at a time: some 0.5 milliseconds
constexpr std::size_t kComponents = kCorners;  // that a byte is of: two corners of eight
constexpr std::size_t kFetchAhead = 4096;      // bytes; the CPU's own fetching stops at the end of a page
constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kAtOnce = 256;  // bytes of a code whose sums 16 bits hold
static_assert(kLookBlock % kCodesTogether == 0 && kAtOnce % kCodeStep == 0);
static_assert(2 * kAtOnce * kMostOfCorner < 1 << 16 && 2 * kMostOfCorner < 1 << 8);

using Sums = std::array<std::uint32_t, kCodesTogether>;

// What the bytes of kCodesTogether codes say, added up; all of it in the way of one instruction set. Without byte
// shuffles: by a table of whole bytes.
class PlainSums {
public:
    PlainSums(const std::uint8_t* corners, std::size_t length) : of_byte_(length * kBytes) {
        const std::uint8_t* upper = corners + length * kCorners;
        for (std::size_t k = 0; k < of_byte_.size(); ++k) {
            const std::size_t j = k / kBytes * kCorners, byte = k % kBytes;
            of_byte_[k] = static_cast<std::uint8_t>(corners[j + byte % kCorners] + upper[j + byte / kCorners]);
        }
    }
    // Bytes `first` to `last` - 1, kAtOnce at most.
    ABIS_INLINE void add(std::size_t first, std::size_t last, const std::uint8_t* codes, Sums& sums) const {
        for (std::size_t j = first; j < last; ++j, codes += kCodesTogether) {
            const std::uint8_t* says = of_byte_.data() + j * kBytes;
            for (std::size_t k = 0; k < kCodesTogether; ++k) sums[k] += says[codes[k]];
        }
    }

private:
    static constexpr std::size_t kBytes = kCorners * kCorners;
    std::vector<std::uint8_t> of_byte_;
};

template <class SumsOf>
ABIS_INLINE void evidence_of(const std::uint8_t* corners, const EmbeddingCodesView& codes, std::size_t begin,
                             std::size_t end, const float* by_sum, float* evidence) {
    const SumsOf sums_of{corners, codes.length};
    const std::uint8_t* bytes = codes.bytes + begin * codes.length;
    for (std::size_t first = begin; first < end; first += kCodesTogether) {
        alignas(kCacheLine) Sums sums{};
        for (std::size_t j = 0; j < codes.length; j += kAtOnce) {
            const std::size_t last = std::min(j + kAtOnce, codes.length);
            const std::uint8_t* next = bytes + (last - j) * kCodesTogether;
            for (const std::uint8_t* line = bytes; line < next; line += kCacheLine)
                __builtin_prefetch(line + kFetchAhead);
            sums_of.add(j, last, bytes, sums);
            bytes = next;
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
    const std::uint8_t* corners;
    std::size_t length;

    ABIS_TARGET_AVX2 inline void add(std::size_t first, std::size_t last, const std::uint8_t* codes, Sums& sums) const {
        const std::uint8_t *of_lower = corners + first * kCorners, *of_upper = of_lower + length * kCorners;
        const __m256i half = _mm256_set1_epi8(15);
        __m256i all = _mm256_setzero_si256(), odd = all;
        for (std::size_t j = 0; j < last - first; j += sizeof(__m256i) / kCodesTogether) {
            const __m256i both = load_32(codes + j * kCodesTogether);
            const __m256i lower = _mm256_and_si256(both, half);
            const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(both, 4), half);
            const __m256i sum = _mm256_add_epi8(_mm256_shuffle_epi8(load_32(of_lower + j * kCorners), lower),
                                                _mm256_shuffle_epi8(load_32(of_upper + j * kCorners), upper));
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
    return _mm256_add_epi16(_mm512_maskz_extracti64x4_epi64(0xF, a, 0), _mm512_maskz_extracti64x4_epi64(0xF, a, 1));
}

struct Avx512Sums {
    const std::uint8_t* corners;
    std::size_t length;

    ABIS_TARGET_AVX512 inline void add(std::size_t first, std::size_t last, const std::uint8_t* codes,
                                       Sums& sums) const {
        const std::uint8_t *of_lower = corners + first * kCorners, *of_upper = of_lower + length * kCorners;
        const __m512i half = _mm512_set1_epi8(15);
        __m512i all = _mm512_setzero_si512(), odd = all;
        for (std::size_t j = 0; j < last - first; j += sizeof(__m512i) / kCodesTogether) {
            const __m512i both = _mm512_loadu_si512(codes + j * kCodesTogether);
            const __m512i lower = _mm512_and_si512(both, half);
            const __m512i upper = _mm512_and_si512(_mm512_srli_epi16(both, 4), half);
            const __m512i sum =
                _mm512_add_epi8(_mm512_shuffle_epi8(_mm512_loadu_si512(of_lower + j * kCorners), lower),
                                _mm512_shuffle_epi8(_mm512_loadu_si512(of_upper + j * kCorners), upper));
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

// Of eight components the largest and its sign. Without branches: nothing tells which it will be.
std::uint8_t corner(const float* eight) {
    unsigned largest = 0;
    float most = std::abs(eight[0]);
    for (unsigned k = 1; k < kCorners / 2; ++k) {
        const float size = std::abs(eight[k]);
        largest = size > most ? k : largest;
        most = size > most ? size : most;
    }
    return static_cast<std::uint8_t>(largest + (eight[largest] < 0 ? kCorners / 2 : 0));
}

}  // namespace

void encode_embeddings(const std::uint16_t* vectors, std::size_t count, std::size_t d, const float* signs,
                       std::size_t n, unsigned threads, const std::function<void()>& poll, std::uint8_t* codes) {
    for_blocks(
        count, kEncodeBlock, thread_count(threads),
        [&](std::size_t begin, std::size_t end, unsigned) {
            std::vector<float> turned(n);
            for (std::size_t k = begin; k < end; ++k) {
                kernels().rotate(vectors + k * d, d, signs, n, turned.data());
                std::uint8_t* code = codes + k * (n / kComponents);
                for (const float* own = turned.data(); own < turned.data() + n; own += kComponents)
                    *code++ = static_cast<std::uint8_t>(corner(own) | corner(own + kComponents / 2) << 4);
            }
        },
        poll);
}

void evidence_of_embedding_codes(const std::uint8_t* corners, const EmbeddingCodesView& codes, const float* by_sum,
                                 unsigned threads, const std::function<void()>& poll, float* evidence) {
    auto* look = evidence_base;
#if defined(__x86_64__)
    if (simd_level() >= SimdLevel::avx2) look = evidence_avx2;
    if (simd_level() >= SimdLevel::avx512bw) look = evidence_avx512;
#endif
    for_blocks(
        codes.count, kLookBlock, thread_count(threads),
        [&](std::size_t begin, std::size_t end, unsigned) { look(corners, codes, begin, end, by_sum, evidence); },
        poll);
}

}  // namespace abis
