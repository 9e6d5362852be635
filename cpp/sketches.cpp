// SPDX-License-Identifier: Apache-2.0
#include "sketches.h"

#include <array>
#include <cstring>
#include <iterator>
#include <numeric>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "code_kernels.h"
#include "parallel.h"
#include "simd.h"

namespace abis {
namespace {

constexpr std::size_t kLookBlock = 16384;  // sketches a thread takes at a time: some 0.05 milliseconds
constexpr std::size_t kAhead = 16;         // sketches that lie anywhere in memory: what is looked at next is asked for

ABIS_INLINE const std::byte* sketch_at(const SketchesView& references, const std::int64_t* slots, std::size_t k) {
    const std::size_t slot = slots == nullptr ? k : static_cast<std::size_t>(slots[k]);
    return references.bits + slot * references.words * sizeof(std::uint64_t);
}

ABIS_INLINE std::uint64_t word_at(const std::byte* bits, std::size_t w) {
    std::uint64_t word;
    std::memcpy(&word, bits + w * sizeof word, sizeof word);
    return word;
}

// How many bits differ between two sketches.
struct PlainSketch {
    template <bool kHasPopcount>
    ABIS_INLINE static std::size_t differing(const std::byte* one, const std::byte* other, std::size_t words) {
        std::uint64_t count = 0;
        for (std::size_t w = 0; w < words; ++w)
            count += body::set_bits<kHasPopcount>(word_at(one, w) ^ word_at(other, w));
        return static_cast<std::size_t>(count);
    }
};

template <class Sketch, bool kHasPopcount>
ABIS_INLINE void evidence_of(const std::byte* probe, const SketchesView& references, const std::int64_t* slots,
                             std::size_t begin, std::size_t count, const float* by_distance, float* evidence) {
    for (std::size_t k = 0; k < count; ++k) {
        if (k + kAhead < count) __builtin_prefetch(sketch_at(references, slots, begin + k + kAhead));
        evidence[k] = by_distance[Sketch::template differing<kHasPopcount>(
            probe, sketch_at(references, slots, begin + k), references.words)];
    }
}

#if defined(__x86_64__)
struct Avx512Sketch {
    template <bool kHasPopcount>
    ABIS_TARGET_AVX512 static inline std::size_t differing(const std::byte* one, const std::byte* other,
                                                           std::size_t words) {
        __m512i count = _mm512_setzero_si512();
        for (std::size_t w = 0; w < words; w += kSketchWords) {
            const __m512i a = _mm512_loadu_si512(one + w * sizeof(std::uint64_t));
            const __m512i b = _mm512_loadu_si512(other + w * sizeof(std::uint64_t));
            count = _mm512_add_epi64(count, _mm512_popcnt_epi64(_mm512_xor_si512(a, b)));
        }
        alignas(64) std::uint64_t lanes[kSketchWords];
        _mm512_store_si512(lanes, count);
        return std::accumulate(std::begin(lanes), std::end(lanes), std::size_t{0});
    }
};

ABIS_TARGET_AVX2 void evidence_avx2(const std::byte* probe, const SketchesView& references, const std::int64_t* slots,
                                    std::size_t begin, std::size_t count, const float* by_distance, float* evidence) {
    evidence_of<PlainSketch, true>(probe, references, slots, begin, count, by_distance, evidence);
}

// In each word the number of bits in which a sketch differs from the probe's.
ABIS_TARGET_AVX512 inline __m512i counts(__m512i own, const std::byte* bits, std::size_t sketch) {
    return _mm512_popcnt_epi64(_mm512_xor_si512(_mm512_loadu_si512(bits + sketch * sizeof own), own));
}

ABIS_TARGET_AVX512 inline __m512i either(__m512i a, __m512i b, __m512i c) {
    return _mm512_ternarylogic_epi64(a, b, c, 0xFE);
}

// The order that puts equal bytes of two neighbouring words side by side.
alignas(64) constexpr std::array<std::uint8_t, 64> kPairsOfBytes = [] {
    std::array<std::uint8_t, 64> order{};
    for (std::size_t k = 0; k < order.size(); ++k) order[k] = static_cast<std::uint8_t>(k % 2 * 8 + k % 16 / 2);
    return order;
}();

// The same of eight sketches in a row, in a byte each of each word.
ABIS_TARGET_AVX512 inline __m512i counts_of_eight(__m512i own, const std::byte* bits) {
    const __m512i a = either(counts(own, bits, 0), counts(own, bits, 1) << 8, counts(own, bits, 2) << 16);
    const __m512i b = either(a, counts(own, bits, 3) << 24, counts(own, bits, 4) << 32);
    const __m512i c = either(b, counts(own, bits, 5) << 40, counts(own, bits, 6) << 48);
    return _mm512_or_si512(c, counts(own, bits, 7) << 56);
}

ABIS_TARGET_AVX512 void evidence_avx512(const std::byte* probe, const SketchesView& references,
                                        const std::int64_t* slots, std::size_t begin, std::size_t count,
                                        const float* by_distance, float* evidence) {
    constexpr std::size_t kEight = 8, kFetchAhead = 64;  // sketches; the CPU's own fetching stops at the end of a page
    std::size_t done = 0;
    if (slots == nullptr && references.words == kSketchWords) {
        const __m512i own = _mm512_loadu_si512(probe);
        const std::byte* bits = sketch_at(references, nullptr, begin);
        const __m512i order = _mm512_load_si512(kPairsOfBytes.data());
        for (; done + kEight <= count; done += kEight, bits += kEight * sizeof own) {
            for (std::size_t k = 0; k < kEight; ++k) __builtin_prefetch(bits + (kFetchAhead + k) * sizeof own);
            const __m512i pairs = _mm512_shuffle_epi8(counts_of_eight(own, bits), order);
            alignas(64) std::uint16_t sums[4 * kEight];
            _mm512_store_si512(sums, _mm512_maddubs_epi16(pairs, _mm512_set1_epi8(1)));
            for (std::size_t k = 0; k < kEight; ++k)
                evidence[done + k] =
                    by_distance[sums[k] + sums[kEight + k] + sums[2 * kEight + k] + sums[3 * kEight + k]];
        }
    }
    evidence_of<Avx512Sketch, true>(probe, references, slots, begin + done, count - done, by_distance, evidence + done);
}
#endif

}  // namespace

void evidence_of_sketches(const std::byte* probe, const SketchesView& references, const std::int64_t* slots,
                          std::size_t count, const float* by_distance, unsigned threads,
                          const std::function<void()>& poll, float* evidence) {
    auto* look = &evidence_of<PlainSketch, false>;
#if defined(__x86_64__)
    if (simd_level() == SimdLevel::avx2) look = evidence_avx2;
    if (simd_level() == SimdLevel::avx512) look = evidence_avx512;
#endif
    for_blocks(
        count, kLookBlock, thread_count(threads),
        [&](std::size_t begin, std::size_t end, unsigned) {
            look(probe, references, slots, begin, end - begin, by_distance, evidence + begin);
        },
        poll);
}

}  // namespace abis
