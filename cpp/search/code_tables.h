// SPDX-License-Identifier: Apache-2.0
// Fingers with like minutiae among very many, without a look at all pairs of them: locality-sensitive hashing of the
// minutiae's codes by sampled bits [Indyk and Motwani 1998].
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "fingerprint/angle.h"
#include "search/code.h"

namespace abis {

// A minutia to be found by its code; in one line of the cache, for it lies anywhere in memory.
struct alignas(32) CodedMinutia {
    MinutiaCode code;
    std::uint32_t finger;
    Angle direction;
    std::int8_t commonness;  // in 1 / kWorthScale natural log units, see find_commonness
};

// Two minutiae that look alike: how the finger was turned if they are one, and what that is worth.
struct CodeVote {
    std::uint32_t probe, finger;
    std::uint16_t worth;  // in 1 / kWorthScale natural log units, commonness taken off
    std::uint8_t bin;     // of rotation
};

// A minutia in a bucket.
struct TableEntry {
    std::uint32_t place;  // of the minutia
    std::uint32_t bits;   // a part of its code, which tells most of those that are not alike
};

// How much more common minutiae are than a usual one, by how many of a sample their first words are like.
void find_commonness(const std::uint64_t* first, std::size_t n, std::int8_t* commonness);

// Each of kTables tables sorts the minutiae by kTableBits bits of their codes, drawn once and for all: of two codes of
// which few bits differ, some table is likely to have both in one bucket. Whether two minutiae find each other depends
// on them alone, and not on what else there is.
class CodeTables {
public:
    // Of minutiae in the order of their fingers.
    CodeTables(std::vector<CodedMinutia> minutiae, std::size_t fingers, unsigned threads,
               const std::function<void()>& poll);

    // Appends a vote for each minutia that shares a bucket with one of the probes' and looks like it, once each.
    // Probes are numbered by CodedMinutia::finger; of probe p, only fingers below limits[p] are wanted.
    void vote(const std::vector<CodedMinutia>& probes, const std::int64_t* limits, std::vector<CodeVote>& votes) const;

    std::size_t memory_bytes() const;

private:
    std::vector<CodedMinutia> minutiae_;
    std::vector<std::uint32_t> firsts_;               // place of the first minutia of each finger, and the end
    std::vector<std::vector<std::uint32_t>> begins_;  // of each table: where the buckets begin, and the end
    std::vector<std::vector<TableEntry>> entries_;    // of each table, by bucket and place
};

}  // namespace abis
