// SPDX-License-Identifier: Apache-2.0
#include "search/code_tables.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "core/parallel.h"
#include "core/simd.h"
#include "search/code_kernels.h"
#include "search/code_projection.h"

namespace abis {
namespace {

using namespace parameters;

constexpr std::size_t kBuckets = std::size_t{1} << kTableBits;
constexpr std::size_t kAhead = 8;     // probes' minutiae: what is fetched before it is needed
constexpr std::size_t kPending = 32;  // pairs of minutiae that are fetched before they are needed

// The same numbers everywhere [Steele, Lea and Flood 2014: SplitMix64].
constexpr std::uint64_t next_random(std::uint64_t& state) {
    std::uint64_t z = state += 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

// The bits of a code that each table looks at: positions, and the same as a mask.
struct Sample {
    std::array<std::uint8_t, kTableBits> bits;
    MinutiaCode mask;
};

constexpr std::array<Sample, kTables> kSamples = [] {
    std::array<Sample, kTables> samples{};
    std::uint64_t state = 0;
    for (Sample& sample : samples) {
        for (std::size_t chosen = 0; chosen < kTableBits;) {
            const std::uint64_t bit = next_random(state) % kCodeBits;
            std::uint64_t& word = bit < 64 ? sample.mask.first : sample.mask.second;
            const std::uint64_t one = std::uint64_t{1} << (bit % 64);
            if ((word & one) != 0) continue;
            word |= one;
            sample.bits[chosen++] = static_cast<std::uint8_t>(bit);
        }
    }
    return samples;
}();

std::size_t bucket(const MinutiaCode& code, const Sample& sample) {
    std::uint64_t number = 0;
    for (std::size_t k = 0; k < kTableBits; ++k) {
        const std::uint64_t word = sample.bits[k] < 64 ? code.first : code.second;
        number |= ((word >> (sample.bits[k] % 64)) & 1) << k;
    }
    return static_cast<std::size_t>(number);
}

ABIS_INLINE bool share_bucket(const MinutiaCode& difference, std::size_t table) {
    const MinutiaCode& mask = kSamples[table].mask;
    return ((difference.first & mask.first) | (difference.second & mask.second)) == 0;
}

std::uint32_t check_bits(const MinutiaCode& code) { return static_cast<std::uint32_t>(code.second >> 32); }

// The minutiae of probes that look into one bucket after the other.
struct Lookups {
    const CodedMinutia* probes;
    const std::uint32_t *buckets, *order;
    std::size_t count;
};

// One table.
struct TableView {
    std::size_t number;
    const std::uint32_t* begins;
    const TableEntry* entries;
    const CodedMinutia* minutiae;
    const std::uint32_t* firsts;
};

struct TableKernels {
    void (*look_up)(const TableView& table, const Lookups& all, const std::int64_t* limits,
                    std::vector<CodeVote>& votes);
    void (*commonness)(const std::uint64_t* first, std::size_t n, std::int8_t* commonness);
};

}  // namespace
}  // namespace abis

#define ABIS_KERNELS "search/code_tables-inl.h"
#include "core/each_target.h"

namespace abis {
namespace {

const TableKernels& table_kernels() {
    static const TableKernels& chosen = ABIS_CHOSEN(kTable);
    return chosen;
}

}  // namespace

void find_commonness(const std::uint64_t* first, std::size_t n, std::int8_t* commonness) {
    table_kernels().commonness(first, n, commonness);
}

CodeTables::CodeTables(std::vector<CodedMinutia> minutiae, std::size_t fingers, unsigned threads,
                       const std::function<void()>& poll)
    : minutiae_(std::move(minutiae)), firsts_(fingers + 1), begins_(kTables), entries_(kTables) {
    const std::size_t n = minutiae_.size();
    for (const CodedMinutia& m : minutiae_) ++firsts_[m.finger + 1];
    for (std::size_t f = 0; f < fingers; ++f) firsts_[f + 1] += firsts_[f];
    for_blocks(
        kTables, 1, threads,
        [&](std::size_t t, std::size_t, unsigned) {
            begins_[t].resize(kBuckets + 1);
            entries_[t].resize(n);
            std::vector<std::uint32_t> own(n);
            for (std::size_t m = 0; m < n; ++m) {
                own[m] = static_cast<std::uint32_t>(bucket(minutiae_[m].code, kSamples[t]));
                ++begins_[t][own[m] + 1];
            }
            for (std::size_t b = 0; b < kBuckets; ++b) begins_[t][b + 1] += begins_[t][b];
            std::vector<std::uint32_t> next(begins_[t].begin(), begins_[t].end() - 1);
            for (std::size_t m = 0; m < n; ++m)
                entries_[t][next[own[m]]++] = {static_cast<std::uint32_t>(m), check_bits(minutiae_[m].code)};
        },
        poll);
}

void CodeTables::vote(const std::vector<CodedMinutia>& probes, const std::int64_t* limits,
                      std::vector<CodeVote>& votes) const {
    const std::size_t n = probes.size();
    std::vector<std::uint32_t> buckets(n), order(n);
    for (std::size_t t = 0; t < kTables; ++t) {
        // In about the order of the buckets: memory is read forwards.
        std::array<std::uint32_t, 257> next{};
        for (std::size_t m = 0; m < n; ++m) {
            buckets[m] = static_cast<std::uint32_t>(bucket(probes[m].code, kSamples[t]));
            ++next[buckets[m] / (kBuckets / 256) + 1];
        }
        for (std::size_t b = 1; b < next.size(); ++b) next[b] += next[b - 1];
        for (std::size_t m = 0; m < n; ++m)
            order[next[buckets[m] / (kBuckets / 256)]++] = static_cast<std::uint32_t>(m);
        table_kernels().look_up({t, begins_[t].data(), entries_[t].data(), minutiae_.data(), firsts_.data()},
                                {probes.data(), buckets.data(), order.data(), n}, limits, votes);
    }
}

std::size_t CodeTables::memory_bytes() const {
    std::size_t sum = minutiae_.capacity() * sizeof(CodedMinutia) + firsts_.size() * sizeof(std::uint32_t);
    for (std::size_t t = 0; t < begins_.size(); ++t)
        sum += sizeof(std::uint32_t) * begins_[t].size() + sizeof(TableEntry) * entries_[t].size();
    return sum;
}

}  // namespace abis
