// SPDX-License-Identifier: Apache-2.0
// The loops over tables of codes: see code_tables.h. code_tables.cpp compiles them for every instruction set.
#include "core/set_bits-inl.h"

namespace abis::ABIS_TARGET {
namespace {

void commonness(const std::uint64_t* first, std::size_t n, std::int8_t* commonness) {
    for (std::size_t m = 0; m < n; ++m) {
        std::uint64_t near = 0;
        for (const std::uint64_t other : kCodeSample)
            near += static_cast<std::uint64_t>(set_bits(first[m] ^ other) <= kSampleRadius);
        commonness[m] = static_cast<std::int8_t>(kCommonness[std::min<std::size_t>(near, kCommonness.size() - 1)]);
    }
}

// A vote for two minutiae that share a bucket, if they are alike and no earlier table had them in one.
ABIS_INLINE void vote_for(const CodedMinutia& own, const CodedMinutia& other, std::size_t table,
                          std::vector<CodeVote>& votes) {
    constexpr int kBinUnits = 256 / kVoteBins;
    const MinutiaCode difference{own.code.first ^ other.code.first, own.code.second ^ other.code.second};
    const auto differing = static_cast<std::size_t>(set_bits(difference.first) + set_bits(difference.second));
    if (differing > kMostCodeBits) return;
    const int worth = kCodeWorth[differing] - (own.commonness + other.commonness) / 2;
    if (worth <= 0) return;
    for (std::size_t t = 0; t < table; ++t)
        if (share_bucket(difference, t)) return;
    const auto turn = static_cast<Angle>(own.direction - other.direction + kBinUnits / 2);
    votes.push_back(
        {own.finger, other.finger, static_cast<std::uint16_t>(worth), static_cast<std::uint8_t>(turn / kBinUnits)});
}

// Waiting for memory is most of the cost, so everything is asked for before it is needed: where a bucket begins, its
// first entries, and the minutiae that entries stand for.
void look_up(const TableView& table, const Lookups& all, const std::int64_t* limits, std::vector<CodeVote>& votes) {
    struct Pair {
        const CodedMinutia *own, *other;
    };
    std::array<Pair, kPending> pending;
    std::size_t pushed = 0;
    const auto vote = [&](const Pair& pair)
                          __attribute__((always_inline)) { vote_for(*pair.own, *pair.other, table.number, votes); };
    for (std::size_t k = 0; k < all.count; ++k) {
        if (k + 2 * kAhead < all.count) __builtin_prefetch(table.begins + all.buckets[all.order[k + 2 * kAhead]]);
        if (k + kAhead < all.count)
            __builtin_prefetch(table.entries + table.begins[all.buckets[all.order[k + kAhead]]]);
        const CodedMinutia& own = all.probes[all.order[k]];
        const std::uint32_t b = all.buckets[all.order[k]], bits = check_bits(own.code);
        const std::uint32_t limit = table.firsts[limits[own.finger]];
        for (std::uint32_t e = table.begins[b]; e < table.begins[b + 1] && table.entries[e].place < limit; ++e) {
            if (set_bits(bits ^ table.entries[e].bits) > kMostCheckBits) continue;
            Pair& pair = pending[pushed % kPending];
            if (pushed >= kPending) vote(pair);
            pair = {&own, &table.minutiae[table.entries[e].place]};
            __builtin_prefetch(pair.other);
            ++pushed;
        }
    }
    for (std::size_t k = pushed - std::min(pushed, kPending); k < pushed; ++k) vote(pending[k % kPending]);
}

constexpr TableKernels kTable{look_up, commonness};

}  // namespace
}  // namespace abis::ABIS_TARGET
