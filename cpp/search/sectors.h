// SPDX-License-Identifier: Apache-2.0
// First words of the minutiae of some slots, ordered by sectors of direction, for the first look. A finger is rarely
// turned much, so a minutia of the probe is compared with few sectors, and the words of a sector are contiguous.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <vector>

#include "fingerprint/angle.h"
#include "fingerprint/parameters.h"

namespace abis {

inline constexpr std::size_t kSectorSlots = 256;  // of one such table: a byte tells which
inline constexpr std::size_t kSectorBlock = 64;   // minutiae that the kernels take at a time

constexpr std::size_t sector_of(Angle direction) { return direction * std::size_t{parameters::kVoteBins} / 256; }

struct SectorsView {
    const std::uint64_t* words;   // sector by sector; kSectorBlock - 1 beyond the last may be read
    const std::uint8_t* slots;    // the slot of each word, ascending in each sector
    const std::uint16_t* begins;  // where each sector begins, and the last one ends
};

class Sectors {
public:
    explicit Sectors(std::pmr::memory_resource* memory) : words_(kSectorBlock - 1, memory), slots_(memory) {}
    Sectors(const Sectors& other, std::pmr::memory_resource* memory)
        : words_(other.words_, memory), slots_(other.slots_, memory), begins_(other.begins_) {}

    // Takes in the words of all slots, given slot by slot; `begins` says where each slot begins, and the last one ends.
    void arrange(const std::pmr::vector<std::uint32_t>& begins, const Angle* direction, const std::uint64_t* words);
    // Puts out those of a slot in the order in which they came; `direction` has the n of that slot.
    void words_of(std::size_t slot, const Angle* direction, std::size_t n, std::uint64_t* words) const;
    // Asks the memory for what that will read.
    void fetch(std::size_t slot, const Angle* direction, std::size_t n) const;

    SectorsView view() const { return {words_.data(), slots_.data(), begins_.data()}; }
    std::size_t memory_bytes() const;

private:
    // Where those of a slot begin in a sector if all slots have as many, and where they do.
    std::size_t guess(std::size_t slot, std::size_t sector) const {
        return begins_[sector] + (begins_[sector + 1] - begins_[sector]) * slot / kSectorSlots;
    }
    std::size_t find(std::size_t slot, std::size_t sector) const;

    std::pmr::vector<std::uint64_t> words_;
    std::pmr::vector<std::uint8_t> slots_;
    std::array<std::uint16_t, parameters::kVoteBins + 1> begins_{};
};
static_assert(kSectorSlots * parameters::kMaxMinutiae < 65536);

}  // namespace abis
