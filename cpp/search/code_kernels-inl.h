// SPDX-License-Identifier: Apache-2.0
// The loops over codes: see code_kernels.h. code_kernels.cpp compiles them for every instruction set.
#include "core/set_bits-inl.h"

namespace abis::ABIS_TARGET {
namespace {

void encode(const Cylinder* cylinders, std::size_t n, MinutiaCode* codes) {
    for (std::size_t m = 0; m < n; ++m) {
        alignas(64) std::int16_t sums[kCodeBits];
        for (std::size_t k = 0; k < kCodeBits; ++k) sums[k] = kCodeOffsets[k];
        for (std::size_t w = 0; w < kCylinderWords; ++w) {
            for (std::uint64_t bits = cylinders[m][w]; bits != 0; bits &= bits - 1) {
                const auto& weights = kCodeWeights[64 * w + static_cast<std::size_t>(std::countr_zero(bits))];
                for (std::size_t k = 0; k < kCodeBits; ++k) sums[k] = static_cast<std::int16_t>(sums[k] + weights[k]);
            }
        }
        std::uint64_t words[2] = {};
        for (std::size_t k = 0; k < kCodeBits; ++k)
            words[k / 64] |= static_cast<std::uint64_t>(sums[k] > 0) << (k % 64);
        codes[m] = {words[0], words[1]};
    }
}

std::size_t near_words(std::uint64_t own, std::uint64_t most, const std::uint64_t* words, std::size_t n) {
    std::size_t count = 0;
    for (std::size_t k = 0; k < n; ++k) count += set_bits(own ^ words[k]) <= most;
    return count;
}

#if ABIS_LEVEL == 3
// In each lane the number of bits that differ from a word.
ABIS_INLINE __m512i differing(__m512i words, std::uint64_t own) {
    return _mm512_popcnt_epi64(_mm512_xor_si512(words, _mm512_set1_epi64(static_cast<long long>(own))));
}
#endif

// Which of the probe's minutiae are near which of eight of the reference's: bit 8 i + 7 of near[lane] is set where no
// more bits differ between the i-th of the group and the lane's than the limits' i-th byte says. Returns a bit for each
// lane where something is; the other words of `near` may be left as they were. Counts both words or the second alone.
template <bool kBothWords>
ABIS_INLINE unsigned find_pairs(const std::uint64_t* own, const std::uint64_t* own_more, std::uint64_t limits,
                                const std::uint64_t* words, const std::uint64_t* more, std::uint64_t* near) {
#if ABIS_LEVEL == 3  // by hand: the compiler takes three times as long
    const __m512i theirs = _mm512_loadu_si512(words);
    const __m512i theirs_more = kBothWords ? _mm512_loadu_si512(more) : theirs;
    __m512i counts = _mm512_setzero_si512();
    for (std::size_t i = CodedProbe::kGroup; i-- > 0;) {
        __m512i count = differing(theirs, own[i]);
        if constexpr (kBothWords) count = _mm512_add_epi64(count, differing(theirs_more, own_more[i]));
        counts = _mm512_or_si512(_mm512_slli_epi64(counts, 8), count);
    }
    const __m512i top = _mm512_set1_epi8(-128), most = _mm512_set1_epi64(static_cast<long long>(limits));
    const __m512i found = _mm512_and_si512(_mm512_sub_epi64(_mm512_or_si512(most, top), counts), top);
    const unsigned lanes = _mm512_test_epi64_mask(found, found);
    if (lanes != 0) _mm512_store_si512(near, found);
    return lanes;
#else
    constexpr std::uint64_t kTop = 0x8080808080808080U;
    alignas(64) std::uint64_t counts[kLanes] = {};  // a byte for each of the probe's
    for (std::size_t i = 0; i < CodedProbe::kGroup; ++i) {
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
            std::uint64_t count = set_bits(own[i] ^ words[lane]);
            if constexpr (kBothWords) count += set_bits(own_more[i] ^ more[lane]);
            counts[lane] |= count << (8 * i);
        }
    }
    unsigned lanes = 0;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
        near[lane] = ((limits | kTop) - counts[lane]) & kTop;  // no byte borrows: counts are at most 128
        lanes |= static_cast<unsigned>(near[lane] != 0) << lane;
    }
    return lanes;
#endif
}

// Calls found(i, j) for the pairs among the probe's first `end` minutiae and all of the reference's of which no more
// bits differ than the limits allow: of both words, or of the second alone.
template <bool kBothWords, class Found>
ABIS_INLINE void near_pairs(const CodedProbe& probe, std::size_t end, const CodedView& reference,
                            const std::uint8_t* limits, Found found) {
    for (std::size_t j0 = 0; j0 < reference.size; j0 += kLanes) {
        const unsigned within = (2U << std::min(kLanes - 1, reference.size - 1 - j0)) - 1;
        for (std::size_t i0 = 0; i0 < end; i0 += CodedProbe::kGroup) {
            std::uint64_t most;
            std::memcpy(&most, limits + i0, sizeof most);
            alignas(64) std::uint64_t near[kLanes];
            unsigned lanes = within & find_pairs<kBothWords>(probe.second.data() + i0, probe.first.data() + i0, most,
                                                             reference.second + j0,
                                                             kBothWords ? reference.first + j0 : nullptr, near);
            for (; lanes != 0; lanes &= lanes - 1) {
                const auto lane = static_cast<std::size_t>(std::countr_zero(lanes));
                for (std::uint64_t bits = near[lane]; bits != 0; bits &= bits - 1) {
                    const std::size_t i = i0 + static_cast<std::size_t>(std::countr_zero(bits)) / 8;
                    if (i < end) found(i, j0 + lane);
                }
            }
        }
    }
}

int votes(const CodedProbe& probe, const CodedView& reference) {
    constexpr int kBinUnits = 256 / parameters::kVoteBins;
    VoteBins bins{};
    near_pairs<false>(
        probe, std::min(probe.size, parameters::kMostToVote), reference, probe.word_limit.data(),
        [&](std::size_t i, std::size_t j) __attribute__((always_inline)) {
            const auto differing = static_cast<std::size_t>(set_bits(probe.second[i] ^ reference.second[j]));
            const auto turn = static_cast<Angle>(probe.minutiae[i].direction - reference.direction[j] + kBinUnits / 2);
            const auto bin = static_cast<std::size_t>(turn / kBinUnits);
            bins.worth[bin] += kWordWorth[differing] - probe.commonness[i];
            bins.voted |= std::uint32_t{1} << bin;
        });
    return abis::most_votes(bins);
}

std::size_t hits(const CodedProbe& probe, const CodedView& reference, CodeHit* hits) {
    std::size_t n = 0;
    near_pairs<true>(
        probe, probe.size, reference, probe.code_limit.data(),
        [&](std::size_t i, std::size_t j) __attribute__((always_inline)) {
            const auto differing = static_cast<std::size_t>(set_bits(probe.first[i] ^ reference.first[j]) +
                                                            set_bits(probe.second[i] ^ reference.second[j]));
            const int worth = kCodeWorth[differing] - probe.commonness[i];
            hits[n++] = {static_cast<std::int16_t>(worth), static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(j)};
        });
    return n;
}

// Minutiae of a block that one of the probe's is near to, a bit each.
struct NearBlock {
    std::uint64_t near;
    std::uint32_t begin;  // of the block
    CodedProbe::Voter by;
};

// Blocks are looked at eight words by eight: byte k of lane l counts for minutia 8 k + l of a block. Which minutia a
// bit stands for, ...
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

// A word that is compared with the words of blocks, and a block: its `near` gives a bit for each of the words of which
// no more than `limit` bits differ from the own one, at place_of.
#if ABIS_LEVEL == 3
using OwnWord = std::uint64_t;

class Block {
public:
    explicit Block(const std::uint64_t* words) {
        for (std::size_t k = 0; k < 8; ++k) words_[k] = _mm512_loadu_si512(words + 8 * k);
    }
    ABIS_INLINE std::uint64_t near(OwnWord own, std::uint8_t limit) const {
        const __m512i a = either(count<0>(own), count<1>(own), count<2>(own));
        const __m512i b = either(a, count<3>(own), count<4>(own)), c = either(b, count<5>(own), count<6>(own));
        const __m512i counts = _mm512_or_si512(c, count<7>(own));
        return _mm512_cmple_epu8_mask(counts, _mm512_set1_epi8(static_cast<char>(limit)));
    }

private:
    template <int kByte>
    ABIS_INLINE __m512i count(OwnWord own) const {
        return _mm512_slli_epi64(differing(words_[kByte], own), 8 * kByte);
    }
    ABIS_INLINE static __m512i either(__m512i a, __m512i b, __m512i c) {
        return _mm512_ternarylogic_epi64(a, b, c, 0xFE);
    }

    __m512i words_[8];
};
#elif defined(__x86_64__)
// Of a block byte p of all words is put side by side, at place_of, for each p: an 8 x 8 transposition of the bytes in
// each lane. Counts of 64 words then lie side by side, a byte each, and add up without shifts.
#if ABIS_LEVEL == 0
struct OwnWord {
    OwnWord() = default;
    explicit OwnWord(std::uint64_t word) {
        for (std::size_t p = 0; p < 8; ++p) bytes[p] = ((word >> (8 * p)) & 0xFF) * 0x0101010101010101U;
    }
    std::uint64_t bytes[8];  // each eight times
};

class Block {
public:
    explicit Block(const std::uint64_t* words) {
        for (std::size_t lane = 0; lane < kLanes;
             ++lane) {  // by steps of 1, 2 and 4 bytes [Warren, Hacker's Delight, 7-3]
            std::uint64_t w[8];
            for (std::size_t k = 0; k < 8; ++k) w[k] = words[8 * k + lane];
            swap(w, 1, 0x00FF00FF00FF00FFU);
            swap(w, 2, 0x0000FFFF0000FFFFU);
            swap(w, 4, 0x00000000FFFFFFFFU);
            for (std::size_t p = 0; p < 8; ++p) planes_[p][lane] = w[p];
        }
    }

    // Counts as set_bits, but in fields of two bits, of four, and of bytes, over all planes before each step up.
    ABIS_INLINE std::uint64_t near(const OwnWord& own, std::uint8_t limit) const {
        constexpr std::uint64_t kTop = 0x8080808080808080U;
        const std::uint64_t limits = limit * 0x0101010101010101U | kTop;
        alignas(64) std::uint64_t within[kLanes];
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
            std::uint64_t sum = 0;
            for (std::size_t p = 0; p < 8; p += 2) {
                std::uint64_t fours = 0;
                for (std::size_t q = p; q < p + 2; ++q) {
                    std::uint64_t v = planes_[q][lane] ^ own.bytes[q];
                    v -= (v >> 1) & 0x5555555555555555U;
                    fours += (v & 0x3333333333333333U) + ((v >> 2) & 0x3333333333333333U);
                }
                sum += (fours & 0x0F0F0F0F0F0F0F0FU) + ((fours >> 4) & 0x0F0F0F0F0F0F0F0FU);
            }
            within[lane] = (limits - sum) & kTop;  // no byte borrows: counts are at most 64
        }
        std::uint64_t bits = 0;  // the top bit of each byte
        for (std::size_t lane = 0; lane < kLanes; ++lane)
            bits |= ((within[lane] >> 7) * 0x0102040810204080U >> 56) << (8 * lane);
        return bits;
    }

private:
    ABIS_INLINE static void swap(std::uint64_t (&w)[8], std::size_t step, std::uint64_t mask) {
        for (std::size_t k = 0; k < 8; ++k) {
            if ((k & step) != 0) continue;
            const std::uint64_t other = ((w[k] >> (8 * step)) ^ w[k + step]) & mask;
            w[k] ^= other << (8 * step);
            w[k + step] ^= other;
        }
    }

    alignas(64) std::uint64_t planes_[8][kLanes];
};
#else
// Set bits of n ^ v for each half byte n, v by v: a byte shuffle of a row counts the bits of 16 half bytes or more that
// differ from v [Mula, Kurz and Lemire 2018, "Faster population counts using AVX2 instructions"; here the tables know
// the own word, which saves the exclusive or].
constexpr std::array<std::array<std::uint8_t, 16>, 16> kDiffering = [] {
    std::array<std::array<std::uint8_t, 16>, 16> rows{};
    for (unsigned v = 0; v < 16; ++v) {
        for (unsigned n = 0; n < 16; ++n) rows[v][n] = static_cast<std::uint8_t>(std::popcount(n ^ v));
    }
    return rows;
}();

struct OwnWord {
    OwnWord() = default;
    explicit OwnWord(std::uint64_t word) {
        for (std::size_t h = 0; h < 16; ++h) rows[h] = kDiffering[word >> (4 * h) & 15];
    }
    ABIS_INLINE __m128i row(std::size_t half) const {
        return _mm_load_si128(reinterpret_cast<const __m128i*>(rows[half].data()));
    }
    alignas(64) std::array<std::array<std::uint8_t, 16>, 16> rows;  // of its half bytes
};

#if ABIS_LEVEL == 2
using Vector = __m512i;
#define ABIS_MM(name) _mm512_##name
#else
using Vector = __m256i;
#define ABIS_MM(name) _mm256_##name
#endif

class Block {
public:
    explicit Block(const std::uint64_t* words) {
        const Vector low = ABIS_MM(set1_epi8)(0x0F);
        for (std::size_t lane = 0; lane < kLanes; lane += sizeof(Vector) / sizeof *words) {
            Vector one[8], two[8], four[8], eight[8];  // one[k] has words 8 k + lane, two[k] bytes of two of them, ...
            for (std::size_t k = 0; k < 8; ++k) std::memcpy(&one[k], words + 8 * k + lane, sizeof(Vector));
            for (std::size_t k = 0; k < 4; ++k) {
                two[k] = ABIS_MM(unpacklo_epi8)(one[2 * k], one[2 * k + 1]);  // of even lanes
                two[k + 4] = ABIS_MM(unpackhi_epi8)(one[2 * k], one[2 * k + 1]);
            }
            for (std::size_t k = 0; k < 8; k += 2) {
                four[k] = ABIS_MM(unpacklo_epi16)(two[k], two[k + 1]);  // bytes 0 to 3
                four[k + 1] = ABIS_MM(unpackhi_epi16)(two[k], two[k + 1]);
            }
            for (std::size_t k = 0; k < 8; k += 4) {
                eight[k] = ABIS_MM(unpacklo_epi32)(four[k], four[k + 2]);  // bytes 0 and 1
                eight[k + 1] = ABIS_MM(unpackhi_epi32)(four[k], four[k + 2]);
                eight[k + 2] = ABIS_MM(unpacklo_epi32)(four[k + 1], four[k + 3]);
                eight[k + 3] = ABIS_MM(unpackhi_epi32)(four[k + 1], four[k + 3]);
            }
            for (std::size_t k = 0; k < 4; ++k) {
                put(2 * k, lane, ABIS_MM(unpacklo_epi64)(eight[k], eight[k + 4]), low);
                put(2 * k + 1, lane, ABIS_MM(unpackhi_epi64)(eight[k], eight[k + 4]), low);
            }
        }
    }

    ABIS_INLINE std::uint64_t near(const OwnWord& own, std::uint8_t limit) const {
#if ABIS_LEVEL == 2
        __m512i counts = _mm512_setzero_si512();
        for (std::size_t h = 0; h < 16; ++h) {
            const __m512i row = _mm512_broadcast_i32x4(own.row(h));
            counts = _mm512_add_epi8(counts, _mm512_shuffle_epi8(row, _mm512_load_si512(halves_[h])));
        }
        return _mm512_cmple_epu8_mask(counts, _mm512_set1_epi8(static_cast<char>(limit)));
#else
        __m256i first = _mm256_setzero_si256(), second = first;
#pragma GCC unroll 4  // whole, GCC 12 reorders the sums so that there are too few registers
        for (std::size_t h = 0; h < 16; ++h) {
            const __m256i row = _mm256_broadcastsi128_si256(own.row(h));
            const auto* half = reinterpret_cast<const __m256i*>(halves_[h]);
            first = _mm256_add_epi8(first, _mm256_shuffle_epi8(row, _mm256_load_si256(half)));
            second = _mm256_add_epi8(second, _mm256_shuffle_epi8(row, _mm256_load_si256(half + 1)));
        }
        const __m256i most = _mm256_set1_epi8(static_cast<char>(limit));
        return std::uint64_t{at_most(second, most)} << 32 | at_most(first, most);
#endif
    }

private:
    // Half bytes of plane p of some lanes.
    ABIS_INLINE void put(std::size_t p, std::size_t lane, Vector plane, Vector low) {
        const Vector lower = plane & low, upper = ABIS_MM(srli_epi16)(plane, 4) & low;
        std::memcpy(&halves_[2 * p][lane], &lower, sizeof lower);
        std::memcpy(&halves_[2 * p + 1][lane], &upper, sizeof upper);
    }
#if ABIS_LEVEL == 1
    ABIS_INLINE static std::uint32_t at_most(__m256i counts, __m256i most) {
        return static_cast<std::uint32_t>(
            _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(counts, most), counts)));
    }
#endif

    alignas(64) std::uint64_t halves_[16][kLanes];
};
#undef ABIS_MM
#endif
#else
// Where every CPU counts the bits of vectors: AArch64.
using OwnWord = std::uint64_t;

class Block {
public:
    explicit Block(const std::uint64_t* words) : words_(words) {}
    ABIS_INLINE std::uint64_t near(OwnWord own, std::uint8_t limit) const {
        std::uint64_t bits = 0;
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
            for (std::size_t k = 0; k < 8; ++k)
                bits |= static_cast<std::uint64_t>(set_bits(own ^ words_[8 * k + lane]) <= limit) << (8 * lane + k);
        }
        return bits;
    }

private:
    const std::uint64_t* words_;
};
#endif

using OwnWords = std::array<OwnWord, parameters::kFirstToVote>;  // of a probe's minutiae

// Finds the minutiae of the block at `words` that some voters are near to; returns how many of those have any. There is
// room for one more.
ABIS_INLINE std::size_t find_near(const CodedProbe& probe, const OwnWords& own, const CodedProbe::Voter* voters,
                                  std::size_t count, const std::uint64_t* words, std::uint32_t begin, std::size_t size,
                                  NearBlock* found) {
    constexpr std::size_t kFetchAhead = 384;  // words: the CPU's own fetching stops at the end of a page of memory
    for (std::size_t k = 0; k < kSectorBlock; k += 8) __builtin_prefetch(words + k + kFetchAhead);
    const Block block(words);
    std::size_t n = 0;
    for (std::size_t v = 0; v < count; ++v) {
        const std::size_t i = voters[v].minutia;
        const std::uint64_t near = kWithin[size] & block.near(own[i], probe.word_limit[i]);
        found[n] = {near, begin, voters[v]};
        n += near != 0;
    }
    return n;
}

void cast(const CodedProbe& probe, const SectorsView& references, const NearBlock* blocks, std::size_t count,
          SlotVotes& votes) {
    for (std::size_t b = 0; b < count; ++b) {
        const auto [near, begin, by] = blocks[b];
        for (std::uint64_t bits = near; bits != 0; bits &= bits - 1) {
            const std::size_t j = begin + place_of(static_cast<std::size_t>(std::countr_zero(bits)));
            const auto differing = static_cast<std::size_t>(set_bits(probe.first[by.minutia] ^ references.words[j]));
            std::int16_t& sum = votes[by.bin][references.slots[j]];
            const int worth = kWordWorth[differing] - probe.commonness[by.minutia];
            sum = static_cast<std::int16_t>(std::min(sum + worth, parameters::kMostVotes));
        }
    }
}

void upright_votes(const CodedProbe& probe, const SectorsView& references, SlotVotes& votes, std::int16_t* most) {
    using namespace parameters;
    constexpr auto kLast = static_cast<std::size_t>(kVoteBins - 1);
    static_assert(4 * kMostVotes <= INT16_MAX);
    // Bins that votes are cast for, and the one beside either end.
    for (int turn = -kUprightBins - 2; turn <= kUprightBins + 2; ++turn)
        votes[static_cast<std::size_t>(turn) & kLast].fill(0);

    constexpr std::size_t kRoom = 1024;  // kept back, so that the loop that finds is not held up by the one that adds
    std::array<NearBlock, kRoom + kFirstToVote + 1> found;
    std::size_t count = 0;
    OwnWords own;
    for (std::size_t i = 0; i < own.size(); ++i) own[i] = OwnWord(probe.first[i]);  // 0 beyond the last minutia
    for (std::size_t sector = 0; sector < kVoteBins; ++sector) {
        if (probe.voter_counts[sector] == 0) continue;
        for (std::size_t j = references.begins[sector], end = references.begins[sector + 1]; j < end;
             j += kSectorBlock) {
            count +=
                find_near(probe, own, probe.voters[sector].data(), probe.voter_counts[sector], references.words + j,
                          static_cast<std::uint32_t>(j), std::min(kSectorBlock, end - j), found.data() + count);
            if (count >= kRoom) {
                cast(probe, references, found.data(), count, votes);
                count = 0;
            }
        }
    }
    cast(probe, references, found.data(), count, votes);

    std::fill_n(most, kSectorSlots, std::int16_t{0});
    for (int turn = -kUprightBins - 1; turn <= kUprightBins + 1; ++turn) {
        const auto b = static_cast<std::size_t>(turn);
        const std::int16_t *before = votes[(b - 1) & kLast].data(), *here = votes[b & kLast].data(),
                           *after = votes[(b + 1) & kLast].data();
        const auto price = static_cast<std::int16_t>(kRotationPrice[b & kLast]);
        for (std::size_t s = 0; s < kSectorSlots; ++s)
            most[s] = std::max(most[s], static_cast<std::int16_t>(before[s] + 2 * here[s] + after[s] - price));
    }
}

constexpr CodeKernels kTable{encode, near_words, upright_votes, votes, hits};

}  // namespace
}  // namespace abis::ABIS_TARGET
