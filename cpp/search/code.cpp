// SPDX-License-Identifier: Apache-2.0
#include "search/code.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <vector>

#include "fingerprint/cylinder.h"
#include "search/code_kernels.h"
#include "search/code_projection.h"
#include "search/sectors.h"

namespace abis {
namespace {

using namespace parameters;

int set_bits(const Cylinder& cylinder) {
    return std::accumulate(cylinder.begin(), cylinder.end(), 0,
                           [](int sum, std::uint64_t word) { return sum + std::popcount(word); });
}

// The most differing bits at which a pair is worth more than its commonness; the tables fall.
template <std::size_t kSize>
std::uint8_t limit(const std::array<std::int16_t, kSize>& worth, int commonness) {
    const auto end = std::partition_point(worth.begin(), worth.end(), [&](int w) { return w > commonness; });
    return static_cast<std::uint8_t>(std::max<std::ptrdiff_t>(0, end - worth.begin() - 1));
}

int commonness_of(std::uint64_t word) {
    const std::size_t near = code_kernels().near_words(word, kSampleRadius, kCodeSample.data(), kCodeSample.size());
    return kCommonness[std::min(near, kCommonness.size() - 1)];
}

struct Ranked {
    int rank;
    std::size_t index;
};

// Orders minutiae by rank, the earlier of equal ones first; each that is taken lowers the rank of those around it, so
// that the first few come from all over the print.
void spread(const std::vector<Minutia>& minutiae, std::vector<Ranked>& ranked) {
    const auto less = [](const Ranked& a, const Ranked& b) {
        return a.rank != b.rank ? a.rank < b.rank : a.index > b.index;
    };
    for (auto next = ranked.begin(); next != ranked.end(); ++next) {
        std::iter_swap(next, std::max_element(next, ranked.end(), less));
        const Minutia& taken = minutiae[next->index];
        for (auto other = next + 1; other != ranked.end(); ++other) {
            const int dx = minutiae[other->index].x - taken.x, dy = minutiae[other->index].y - taken.y;
            if (std::max(std::abs(dx), std::abs(dy)) < kCrowdingRadius) other->rank -= kRankOfCrowding;
        }
    }
}

// Each of the first minutiae votes on the sectors from which a finger that is hardly turned would bring its mate.
void appoint(CodedProbe& probe) {
    constexpr std::size_t kLast = kVoteBins - 1;
    for (std::size_t i = 0; i < std::min(probe.size, kFirstToVote); ++i) {
        for (int turn = -kUprightBins; turn <= kUprightBins; ++turn) {
            const std::size_t bin = static_cast<std::size_t>(turn) & kLast;
            const std::size_t sector = (sector_of(probe.minutiae[i].direction) - bin) & kLast;
            probe.voters[sector][probe.voter_counts[sector]++] = {static_cast<std::uint8_t>(i),
                                                                  static_cast<std::uint8_t>(bin)};
        }
    }
}

// The reliability from which minutiae have codes; the most reliable ones of a poor print have one at any rate.
std::uint8_t least_coded(const std::vector<Minutia>& minutiae) {
    if (minutiae.size() <= kAlwaysCoded) return 0;
    std::vector<std::uint8_t> falling(minutiae.size());
    std::transform(minutiae.begin(), minutiae.end(), falling.begin(), [](const Minutia& m) { return m.reliability; });
    const auto last = falling.begin() + (kAlwaysCoded - 1);
    std::nth_element(falling.begin(), last, falling.end(), std::greater<>());
    return std::min(kCodedReliability, *last);
}

// Of each minutia; without a bit set where it is too uncertain to have a code.
std::vector<Cylinder> coded_cylinders(const std::vector<Minutia>& minutiae) {
    std::vector<Cylinder> descriptors = cylinders(minutiae);
    const std::uint8_t least = least_coded(minutiae);
    for (std::size_t i = 0; i < minutiae.size(); ++i) {
        if (minutiae[i].reliability < least) descriptors[i] = {};
    }
    return descriptors;
}

}  // namespace

const MinutiaCode& empty_code() {
    static const MinutiaCode empty = [] {
        const Cylinder nothing{};
        MinutiaCode own;
        code_kernels().encode(&nothing, 1, &own);
        return own;
    }();
    return empty;
}

bool tells(const MinutiaCode& code) { return code.first != empty_code().first || code.second != empty_code().second; }

void CodedProbe::push(const Minutia& minutia, std::size_t its_place, const MinutiaCode& code, int how_common) {
    const std::size_t k = size++;
    first[k] = code.first;
    second[k] = code.second;
    word_limit[k] = limit(kWordWorth, how_common);
    code_limit[k] = limit(kCodeWorth, how_common);
    commonness[k] = static_cast<std::int16_t>(how_common);
    minutiae[k] = minutia;
    place[k] = static_cast<std::uint8_t>(its_place);
}

void encode(const std::vector<Minutia>& minutiae, MinutiaCode* codes) {
    const std::vector<Cylinder> descriptors = coded_cylinders(minutiae);
    code_kernels().encode(descriptors.data(), descriptors.size(), codes);
}

CodedProbe coded_probe(const std::vector<Minutia>& minutiae) {
    const std::vector<Cylinder> descriptors = coded_cylinders(minutiae);
    std::vector<MinutiaCode> codes(minutiae.size());
    code_kernels().encode(descriptors.data(), descriptors.size(), codes.data());

    std::vector<Ranked> ranked;
    for (std::size_t i = 0; i < minutiae.size(); ++i) {
        if (!tells(codes[i])) continue;
        const int bits = set_bits(descriptors[i]);
        ranked.push_back(
            {std::min(bits, kRichCylinder) * kRankOfBits + minutiae[i].reliability * kRankOfReliability, i});
    }
    spread(minutiae, ranked);

    CodedProbe probe;
    for (const Ranked& r : ranked)
        probe.push(minutiae[r.index], r.index, codes[r.index], commonness_of(codes[r.index].first));
    appoint(probe);
    return probe;
}

}  // namespace abis
