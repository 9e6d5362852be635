// SPDX-License-Identifier: Apache-2.0
// Some ten thousand fingers that are compared with each other, or with those of another tile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "fingerprint/template.h"
#include "search/code_kernels.h"
#include "search/code_tables.h"
#include "search/finger_index.h"

namespace abis {

// Two fingers that may be one. Evidence in natural log units, as in FingerIndex.
struct FingerPair {
    std::int64_t probe, reference;
    float evidence;
};

// Fingers are numbered from 0. Any number of threads may read. Evidence and scores of pairs are those of FingerIndex to
// the bit.
class FingerTile {
public:
    // Takes in what FingerIndex::write wrote; none of it removed. Throws std::invalid_argument where a value is none
    // that FingerIndex::write gives.
    FingerTile(const IndexColumns& columns, std::size_t fingers, unsigned threads, const std::function<void()>& poll);

    std::size_t size() const { return begins_.size() - 1; }
    std::size_t memory_bytes() const;

    // Pairs of fingers `begin` to `end` of another tile with fingers of this one whose like minutiae say `least`, by
    // probe and reference, each pair once. Of probe p, only references below limits[p - begin]. The first call makes
    // tables, some 280 bytes a minutia; other threads wait for them.
    std::vector<FingerPair> near(const FingerTile& probes, std::size_t begin, std::size_t end,
                                 const std::int64_t* limits, float least, unsigned threads,
                                 const std::function<void()>& poll) const;

    // Of pairs (probe of another tile, finger of this one), quickest where those of a probe follow each other.
    void refine(const FingerTile& probes, const std::int64_t* probe, const std::int64_t* reference, std::size_t count,
                unsigned threads, const std::function<void()>& poll, float* evidence) const;
    void compare(const FingerTile& probes, const std::int64_t* probe, const std::int64_t* reference, std::size_t count,
                 unsigned threads, const std::function<void()>& poll, float* scores) const;

private:
    std::size_t minutiae_of(std::size_t finger) const { return begins_[finger + 1] - begins_[finger]; }
    std::size_t codes_of(std::size_t finger) const { return code_begins_[finger + 1] - code_begins_[finger]; }
    const Minutia& coded(std::size_t finger, std::size_t code) const {
        return minutiae_[begins_[finger] + place_[code]];
    }
    const CodeTables& tables(unsigned threads, const std::function<void()>& poll) const;
    CodedView view(std::size_t finger) const;
    void compare_portion(const FingerTile& probes, const std::int64_t* probe, const std::int64_t* reference,
                         const std::vector<std::size_t>& firsts, unsigned threads, const std::function<void()>& poll,
                         float* scores) const;
    CodedProbe probe(std::size_t finger) const;  // in the order of the template, without voters
    void copy(std::size_t finger, std::vector<Minutia>& minutiae) const;
    void add_telling(std::size_t finger, std::uint32_t number, std::vector<CodedMinutia>& minutiae) const;

    std::vector<std::uint32_t> begins_;  // where the minutiae of each finger begin, and the last ones end
    std::vector<Minutia> minutiae_;
    // Of the codes that tell something; each belongs to one of the finger's minutiae, by its place there.
    std::vector<std::uint32_t> code_begins_;
    std::vector<std::uint64_t> first_, second_;  // kLanes - 1 more may be read
    std::vector<std::uint8_t> place_;
    std::vector<Angle> direction_;
    std::vector<std::int8_t> commonness_;
    mutable std::mutex making_;                         // guards the pointer
    mutable std::unique_ptr<const CodeTables> tables_;  // null until `near` needs them; then they stay
};

}  // namespace abis
