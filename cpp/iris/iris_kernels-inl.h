// SPDX-License-Identifier: Apache-2.0
// Compiled by iris_kernels.cpp for every instruction set. Bits are counted as integers, so scores are equal everywhere.
#include "core/set_bits-inl.h"

namespace abis::ABIS_TARGET {
namespace {

std::uint64_t iris_word(const std::uint8_t* at) {
    std::uint64_t word;
    std::memcpy(&word, at, sizeof word);
    return word;
}

float score(const std::uint8_t* probe_bits, const std::uint8_t* probe_mask, const std::uint8_t* reference,
            std::size_t stride, std::size_t step, std::size_t rotations) {
    double best = 0;
    bool is_first = true;
    for (std::size_t k = 0; k < rotations; ++k) {
        const std::uint8_t* bits = probe_bits + k * step;
        const std::uint8_t* mask = probe_mask + k * step;
        std::uint64_t counting = 0, different = 0;
        for (std::size_t at = 0; at < stride; at += 8) {
            const std::uint64_t both = iris_word(mask + at) & iris_word(reference + stride + at);
            counting += set_bits(both);
            different += set_bits((iris_word(bits + at) ^ iris_word(reference + at)) & both);
        }
        if (counting == 0) continue;
        const double difference = static_cast<double>(counting) - 2.0 * static_cast<double>(different);
        const double own = difference / std::sqrt(static_cast<double>(counting));
        if (is_first || own > best) best = own;
        is_first = false;
    }
    return static_cast<float>(best);
}

// Raises each of `best` to the square of the score, with its sign, at the best of some rotations.
ABIS_INLINE void raise(const std::uint64_t* probe, std::size_t rotations, std::size_t words, const std::uint64_t* block,
                       float* best) {
    const std::uint64_t* masks = block + words * kIrisLanes;
    for (std::size_t k = 0; k < rotations; ++k, probe += 2 * words) {
#if ABIS_LEVEL == 3  // by hand: the compiler takes longer
        __m512i all = _mm512_setzero_si512(), other = all;
        for (std::size_t w = 0; w < words; ++w) {
            const __m512i own = _mm512_set1_epi64(static_cast<long long>(probe[w]));
            const __m512i own_mask = _mm512_set1_epi64(static_cast<long long>(probe[words + w]));
            const __m512i both = _mm512_and_si512(own_mask, _mm512_loadu_si512(masks + w * kIrisLanes));
            const __m512i theirs = _mm512_loadu_si512(block + w * kIrisLanes);
            all = _mm512_add_epi64(all, _mm512_popcnt_epi64(both));
            constexpr int kDifferent = (0xF0 ^ 0xCC) & 0xAA;  // (own ^ theirs) & both
            other =
                _mm512_add_epi64(other, _mm512_popcnt_epi64(_mm512_ternarylogic_epi64(own, theirs, both, kDifferent)));
        }
        const __m256 difference = _mm512_cvtepi64_ps(_mm512_sub_epi64(all, _mm512_slli_epi64(other, 1)));
        const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0F), difference);
        const __m256 n = _mm256_max_ps(_mm512_cvtepi64_ps(all), _mm256_set1_ps(1.0F));
        const __m256 square = _mm256_div_ps(_mm256_mul_ps(difference, size), n);
        _mm256_storeu_ps(best, _mm256_max_ps(square, _mm256_loadu_ps(best)));
#else
        std::uint64_t counting[kIrisLanes] = {}, different[kIrisLanes] = {};
        for (std::size_t w = 0; w < words; ++w) {
            const std::uint64_t own = probe[w], own_mask = probe[words + w];
            for (std::size_t lane = 0; lane < kIrisLanes; ++lane) {
                const std::uint64_t both = own_mask & masks[w * kIrisLanes + lane];
                counting[lane] += set_bits(both);
                different[lane] += set_bits((own ^ block[w * kIrisLanes + lane]) & both);
            }
        }
        for (std::size_t lane = 0; lane < kIrisLanes; ++lane) {
            const auto n = static_cast<std::int32_t>(counting[lane]);
            const auto difference = static_cast<float>(n - 2 * static_cast<std::int32_t>(different[lane]));
            const float square = difference * std::abs(difference) / static_cast<float>(n > 0 ? n : 1);
            best[lane] = square > best[lane] ? square : best[lane];
        }
#endif
    }
}

void look(const std::uint64_t* probe, std::size_t coarse, std::size_t rotations, std::size_t words,
          const std::uint64_t* block, float* squares) {
    for (std::size_t lane = 0; lane < kIrisLanes; ++lane) squares[lane] = -std::numeric_limits<float>::infinity();
    raise(probe, coarse, words, block, squares);
    float closer[kIrisLanes];
    bool is_near[kIrisLanes], any = false;
    for (std::size_t lane = 0; lane < kIrisLanes; ++lane) {
        closer[lane] = squares[lane];
        is_near[lane] = squares[lane] >= kIrisNear * kIrisNear;
        any = any || is_near[lane];
    }
    if (!any) return;
    raise(probe + coarse * 2 * words, rotations - coarse, words, block, closer);
    for (std::size_t lane = 0; lane < kIrisLanes; ++lane) squares[lane] = is_near[lane] ? closer[lane] : squares[lane];
}

constexpr IrisKernels kTable{score, look};

}  // namespace
}  // namespace abis::ABIS_TARGET
