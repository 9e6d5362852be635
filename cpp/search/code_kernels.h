// SPDX-License-Identifier: Apache-2.0
// The loops over codes where a search of a whole index spends its time, as plain bodies, compiled and chosen like
// those of kernels.h.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fingerprint/cylinder.h"
#include "fingerprint/kernels.h"
#include "fingerprint/prepared.h"
#include "search/code.h"
#include "search/code_projection.h"
#include "search/sectors.h"

namespace abis {

// The codes of one reference's minutiae; kLanes - 1 words beyond the last may be read. Votes need no first words.
struct CodedView {
    std::size_t size;
    const std::uint64_t *first, *second;
    const Angle* direction;
};

// A minutia of the probe, by its place in CodedProbe, one of the reference, and what they say for one finger.
struct CodeHit {
    std::int16_t worth;  // in 1 / kWorthScale natural log units, commonness taken off
    std::uint8_t probe, reference;
};

// What pairs are worth by first words, for each bin of rotation and slot of a table of sectors, in 1 / kWorthScale
// natural log units.
using SlotVotes = std::array<std::array<std::int16_t, kSectorSlots>, parameters::kVoteBins>;

struct CodeKernels {
    void (*encode)(const Cylinder* cylinders, std::size_t n, MinutiaCode* codes);
    // How many of some words differ from one by so many bits at most.
    std::size_t (*near_words)(std::uint64_t own, std::uint64_t most, const std::uint64_t* words, std::size_t n);
    // The most that pairs of one rotation, give or take a bin, are worth, less the price of that rotation, in
    // 1 / (2 kWorthScale) natural log units: of each slot by first words, fingers hardly turned, ...
    void (*upright_votes)(const CodedProbe& probe, const SectorsView& references, SlotVotes& votes, std::int16_t* most);
    // ... and of one reference by second words, however it is turned.
    int (*votes)(const CodedProbe& probe, const CodedView& reference);
    // All pairs that say something by both words; returns how many. There is room for every pair.
    std::size_t (*hits)(const CodedProbe& probe, const CodedView& reference, CodeHit* hits);
};

const CodeKernels& code_kernels();

// What each bin of rotation costs, in 1 / (2 kWorthScale) natural log units: fingers are rarely presented turned.
inline constexpr std::array<int, parameters::kVoteBins> kRotationPrice = [] {
    using namespace parameters;
    std::array<int, kVoteBins> price{};
    for (int bin = 0; bin < kVoteBins; ++bin) {
        const float turn = static_cast<float>(std::min(bin, kVoteBins - bin)) / kVoteBins;
        price[static_cast<std::size_t>(bin)] =
            static_cast<int>(2 * kWorthScale * kScreenRotationPrice * std::min(1.0F, turn / kMostRotation));
    }
    return price;
}();

namespace body {

template <bool kHasPopcount>
ABIS_INLINE std::uint64_t set_bits(std::uint64_t v) {
    if constexpr (kHasPopcount) {
        return static_cast<std::uint64_t>(std::popcount(v));
    } else {
        return set_bits_by_adding(v);
    }
}

ABIS_INLINE void encode(const Cylinder* cylinders, std::size_t n, MinutiaCode* codes) {
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

template <bool kHasPopcount>
ABIS_INLINE std::size_t near_words(std::uint64_t own, std::uint64_t most, const std::uint64_t* words, std::size_t n) {
    std::size_t count = 0;
    for (std::size_t k = 0; k < n; ++k) count += set_bits<kHasPopcount>(own ^ words[k]) <= most;
    return count;
}

// Which of the probe's minutiae are near which of eight of the reference's: bit 8 i + 7 of near[lane] is set where no
// more bits differ between the i-th of the group and the lane's than the limits' i-th byte says. Returns a bit for each
// lane where something is; the other words of `near` may be left as they were.
struct PlainGroup {
    template <bool kHasPopcount, bool kBothWords>
    ABIS_INLINE static unsigned find(const std::uint64_t* own, const std::uint64_t* own_more, std::uint64_t limits,
                                     const std::uint64_t* words, const std::uint64_t* more, std::uint64_t* near) {
        constexpr std::uint64_t kTop = 0x8080808080808080U;
        alignas(64) std::uint64_t counts[kLanes] = {};  // a byte for each of the probe's
        for (std::size_t i = 0; i < CodedProbe::kGroup; ++i) {
            for (std::size_t lane = 0; lane < kLanes; ++lane) {
                std::uint64_t count = set_bits<kHasPopcount>(own[i] ^ words[lane]);
                if constexpr (kBothWords) count += set_bits<kHasPopcount>(own_more[i] ^ more[lane]);
                counts[lane] |= count << (8 * i);
            }
        }
        unsigned lanes = 0;
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
            near[lane] = ((limits | kTop) - counts[lane]) & kTop;  // no byte borrows: counts are at most 128
            lanes |= static_cast<unsigned>(near[lane] != 0) << lane;
        }
        return lanes;
    }
};

// Calls found(i, j) for the pairs among the probe's first `end` minutiae and all of the reference's of which no more
// bits differ than the limits allow: of both words, or of the second alone.
template <class Group, bool kHasPopcount, bool kBothWords, class Found>
ABIS_INLINE void near_pairs(const CodedProbe& probe, std::size_t end, const CodedView& reference,
                            const std::uint8_t* limits, Found found) {
    for (std::size_t j0 = 0; j0 < reference.size; j0 += kLanes) {
        const unsigned within = (2U << std::min(kLanes - 1, reference.size - 1 - j0)) - 1;
        for (std::size_t i0 = 0; i0 < end; i0 += CodedProbe::kGroup) {
            std::uint64_t most;
            std::memcpy(&most, limits + i0, sizeof most);
            alignas(64) std::uint64_t near[kLanes];
            unsigned lanes = within & Group::template find<kHasPopcount, kBothWords>(
                                          probe.second.data() + i0, probe.first.data() + i0, most,
                                          reference.second + j0, kBothWords ? reference.first + j0 : nullptr, near);
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

struct VoteBins {
    std::array<int, parameters::kVoteBins> worth{};
    std::uint32_t voted = 0;  // a bit for each bin
};
static_assert(parameters::kVoteBins == 32);

// Bins beside which nothing has voted have nothing but their price.
ABIS_INLINE int most_votes(const VoteBins& bins) {
    constexpr std::size_t kLast = parameters::kVoteBins - 1;
    int most = 0;
    for (std::uint32_t left = bins.voted | std::rotl(bins.voted, 1) | std::rotr(bins.voted, 1); left != 0;
         left &= left - 1) {
        const auto b = static_cast<std::size_t>(std::countr_zero(left));
        const int worth = bins.worth[(b - 1) & kLast] + 2 * bins.worth[b] + bins.worth[(b + 1) & kLast];
        most = std::max(most, worth - kRotationPrice[b]);
    }
    return most;
}

template <class Group, bool kHasPopcount>
ABIS_INLINE int votes(const CodedProbe& probe, const CodedView& reference) {
    constexpr int kBinUnits = 256 / parameters::kVoteBins;
    VoteBins bins{};
    near_pairs<Group, kHasPopcount, false>(
        probe, std::min(probe.size, parameters::kMostToVote), reference, probe.word_limit.data(),
        [&](std::size_t i, std::size_t j) [[gnu::always_inline]] {
            const auto differing =
                static_cast<std::size_t>(set_bits<kHasPopcount>(probe.second[i] ^ reference.second[j]));
            const auto turn = static_cast<Angle>(probe.minutiae[i].direction - reference.direction[j] + kBinUnits / 2);
            const auto bin = static_cast<std::size_t>(turn / kBinUnits);
            bins.worth[bin] += kWordWorth[differing] - probe.commonness[i];
            bins.voted |= std::uint32_t{1} << bin;
        });
    return most_votes(bins);
}

template <class Group, bool kHasPopcount>
ABIS_INLINE std::size_t hits(const CodedProbe& probe, const CodedView& reference, CodeHit* hits) {
    std::size_t n = 0;
    near_pairs<Group, kHasPopcount, true>(
        probe, probe.size, reference, probe.code_limit.data(),
        [&](std::size_t i, std::size_t j) [[gnu::always_inline]] {
            const auto differing =
                static_cast<std::size_t>(set_bits<kHasPopcount>(probe.first[i] ^ reference.first[j]) +
                                         set_bits<kHasPopcount>(probe.second[i] ^ reference.second[j]));
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

// Finds the minutiae of the block at `words` that some voters are near to; returns how many of those have any. There is
// room for one more. `place` says which minutia of a block a bit stands for.
struct PlainBlock {
    static constexpr std::size_t place(std::size_t bit) { return bit; }

    template <bool kHasPopcount>
    ABIS_INLINE static std::size_t find(const CodedProbe& probe, const CodedProbe::Voter* voters, std::size_t count,
                                        const std::uint64_t* words, std::uint32_t begin, std::size_t size,
                                        NearBlock* found) {
        std::size_t n = 0;
        for (std::size_t v = 0; v < count; ++v) {
            const std::size_t i = voters[v].minutia;
            const std::uint64_t own = probe.first[i], limit = probe.word_limit[i];
            std::uint64_t near = 0;
            for (std::size_t k = 0; k < size; ++k)
                near |= static_cast<std::uint64_t>(set_bits<kHasPopcount>(own ^ words[k]) <= limit) << k;
            found[n] = {near, begin, voters[v]};
            n += near != 0;
        }
        return n;
    }
};

template <class Block, bool kHasPopcount>
ABIS_INLINE void cast(const CodedProbe& probe, const SectorsView& references, const NearBlock* blocks,
                      std::size_t count, SlotVotes& votes) {
    for (std::size_t b = 0; b < count; ++b) {
        const auto [near, begin, by] = blocks[b];
        for (std::uint64_t bits = near; bits != 0; bits &= bits - 1) {
            const std::size_t j = begin + Block::place(static_cast<std::size_t>(std::countr_zero(bits)));
            const auto differing =
                static_cast<std::size_t>(set_bits<kHasPopcount>(probe.first[by.minutia] ^ references.words[j]));
            std::int16_t& sum = votes[by.bin][references.slots[j]];
            const int worth = kWordWorth[differing] - probe.commonness[by.minutia];
            sum = static_cast<std::int16_t>(std::min(sum + worth, parameters::kMostVotes));
        }
    }
}

template <class Block, bool kHasPopcount>
ABIS_INLINE void upright_votes(const CodedProbe& probe, const SectorsView& references, SlotVotes& votes,
                               std::int16_t* most) {
    using namespace parameters;
    constexpr auto kLast = static_cast<std::size_t>(kVoteBins - 1);
    static_assert(4 * kMostVotes <= INT16_MAX);
    // Bins that votes are cast for, and the one beside either end.
    for (int turn = -kUprightBins - 2; turn <= kUprightBins + 2; ++turn)
        votes[static_cast<std::size_t>(turn) & kLast].fill(0);

    constexpr std::size_t kRoom = 1024;  // kept back, so that the loop that finds is not held up by the one that adds
    std::array<NearBlock, kRoom + kFirstToVote + 1> found;
    std::size_t count = 0;
    for (std::size_t sector = 0; sector < kVoteBins; ++sector) {
        if (probe.voter_counts[sector] == 0) continue;
        for (std::size_t j = references.begins[sector], end = references.begins[sector + 1]; j < end;
             j += kSectorBlock) {
            count += Block::template find<kHasPopcount>(probe, probe.voters[sector].data(), probe.voter_counts[sector],
                                                        references.words + j, static_cast<std::uint32_t>(j),
                                                        std::min(kSectorBlock, end - j), found.data() + count);
            if (count >= kRoom) {
                cast<Block, kHasPopcount>(probe, references, found.data(), count, votes);
                count = 0;
            }
        }
    }
    cast<Block, kHasPopcount>(probe, references, found.data(), count, votes);

    std::fill_n(most, kSectorSlots, std::int16_t{0});
    for (int turn = -kUprightBins - 1; turn <= kUprightBins + 1; ++turn) {
        const auto b = static_cast<std::size_t>(turn);
        const std::int16_t *before = votes[(b - 1) & kLast].data(), *own = votes[b & kLast].data(),
                           *after = votes[(b + 1) & kLast].data();
        const auto price = static_cast<std::int16_t>(kRotationPrice[b & kLast]);
        for (std::size_t s = 0; s < kSectorSlots; ++s)
            most[s] = std::max(most[s], static_cast<std::int16_t>(before[s] + 2 * own[s] + after[s] - price));
    }
}

}  // namespace body
}  // namespace abis
