// SPDX-License-Identifier: Apache-2.0
#include "search/code_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace abis {

// One instruction set: a struct of the bodies compiled for it.
#define ABIS_CODE_KERNELS(NAME, TARGET, GROUP, BLOCK, HAS_POPCOUNT)                                                \
    struct NAME {                                                                                                  \
        TARGET static void encode(const Cylinder* cylinders, std::size_t n, MinutiaCode* codes) {                  \
            body::encode(cylinders, n, codes);                                                                     \
        }                                                                                                          \
        TARGET static std::size_t near_words(std::uint64_t own, std::uint64_t most, const std::uint64_t* words,    \
                                             std::size_t n) {                                                      \
            return body::near_words<HAS_POPCOUNT>(own, most, words, n);                                            \
        }                                                                                                          \
        TARGET static void upright_votes(const CodedProbe& probe, const SectorsView& references, SlotVotes& votes, \
                                         std::int16_t* most) {                                                     \
            body::upright_votes<BLOCK, HAS_POPCOUNT>(probe, references, votes, most);                              \
        }                                                                                                          \
        TARGET static int votes(const CodedProbe& probe, const CodedView& reference) {                             \
            return body::votes<GROUP, HAS_POPCOUNT>(probe, reference);                                             \
        }                                                                                                          \
        TARGET static std::size_t hits(const CodedProbe& probe, const CodedView& reference, CodeHit* hits) {       \
            return body::hits<GROUP, HAS_POPCOUNT>(probe, reference, hits);                                        \
        }                                                                                                          \
        static constexpr CodeKernels table{encode, near_words, upright_votes, votes, hits};                        \
    }

namespace {

#if defined(__x86_64__)
// In each lane the number of bits that differ from a word.
ABIS_TARGET_AVX512 inline __m512i differing(__m512i words, std::uint64_t own) {
    return _mm512_popcnt_epi64(_mm512_xor_si512(words, _mm512_set1_epi64(static_cast<long long>(own))));
}

// PlainGroup by hand: the compiler takes three times as long with it.
struct Avx512Group {
    template <bool kHasPopcount, bool kBothWords>
    ABIS_TARGET_AVX512 static inline unsigned find(const std::uint64_t* own, const std::uint64_t* own_more,
                                                   std::uint64_t limits, const std::uint64_t* words,
                                                   const std::uint64_t* more, std::uint64_t* near) {
        const __m512i theirs = _mm512_loadu_si512(words);
        const __m512i theirs_more = kBothWords ? _mm512_loadu_si512(more) : theirs;
        __m512i counts = _mm512_setzero_si512();
        for (std::size_t i = CodedProbe::kGroup; i-- > 0;) {
            __m512i count = differing(theirs, own[i]);
            if constexpr (kBothWords) count = _mm512_add_epi64(count, differing(theirs_more, own_more[i]));
            counts = _mm512_or_si512(counts << 8, count);
        }
        const __m512i top = _mm512_set1_epi8(-128), most = _mm512_set1_epi64(static_cast<long long>(limits));
        const __m512i found = _mm512_and_si512(_mm512_sub_epi64(_mm512_or_si512(most, top), counts), top);
        const unsigned lanes = _mm512_test_epi64_mask(found, found);
        if (lanes != 0) _mm512_store_si512(near, found);
        return lanes;
    }
};

// Byte k of lane l counts for minutia 8 k + l of a block: which minutia a bit stands for, ...
constexpr std::size_t place_of(std::size_t bit) { return bit % 8 * 8 + bit / 8; }

// ... and for each size of a block the bits that stand for its minutiae.
constexpr std::array<std::uint64_t, kSectorBlock + 1> kWithin = [] {
    std::array<std::uint64_t, kSectorBlock + 1> within{};
    for (std::size_t size = 0; size <= kSectorBlock; ++size) {
        for (std::size_t bit = 0; bit < kSectorBlock; ++bit)
            within[size] |= static_cast<std::uint64_t>(place_of(bit) < size) << bit;
    }
    return within;
}();

constexpr std::size_t kFetchAhead = 384;  // words: the CPU's own fetching stops at the end of a page of memory

// PlainBlock by hand.
struct Avx512Block {
    static constexpr std::size_t place(std::size_t bit) { return place_of(bit); }

    template <bool kHasPopcount>
    ABIS_TARGET_AVX512 static std::size_t find(const CodedProbe& probe, const CodedProbe::Voter* voters,
                                               std::size_t count, const std::uint64_t* words, std::uint32_t begin,
                                               std::size_t size, body::NearBlock* found) {
        __m512i w[8];
        for (std::size_t k = 0; k < 8; ++k) {
            w[k] = _mm512_loadu_si512(words + 8 * k);
            __builtin_prefetch(words + 8 * k + kFetchAhead);
        }
        std::size_t n = 0;
        for (std::size_t v = 0; v < count; ++v) {
            const std::size_t i = voters[v].minutia;
            const std::uint64_t own = probe.first[i];
            const __m512i a = either(differing(w[0], own), differing(w[1], own) << 8, differing(w[2], own) << 16);
            const __m512i b = either(a, differing(w[3], own) << 24, differing(w[4], own) << 32);
            const __m512i c = either(b, differing(w[5], own) << 40, differing(w[6], own) << 48);
            const __m512i counts = _mm512_or_si512(c, differing(w[7], own) << 56);
            const __m512i limit = _mm512_set1_epi8(static_cast<char>(probe.word_limit[i]));
            const std::uint64_t near = kWithin[size] & _mm512_cmple_epu8_mask(counts, limit);
            found[n] = {near, begin, voters[v]};
            n += near != 0;
        }
        return n;
    }

    ABIS_TARGET_AVX512 static inline __m512i either(__m512i a, __m512i b, __m512i c) {
        return _mm512_ternarylogic_epi64(a, b, c, 0xFE);
    }
};
#endif

ABIS_CODE_KERNELS(Base, , body::PlainGroup, body::PlainBlock, false);
#if defined(__x86_64__)
ABIS_CODE_KERNELS(Avx2, ABIS_TARGET_AVX2, body::PlainGroup, body::PlainBlock, true);
ABIS_CODE_KERNELS(Avx512, ABIS_TARGET_AVX512, Avx512Group, Avx512Block, true);
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
