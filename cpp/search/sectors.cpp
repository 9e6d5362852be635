// SPDX-License-Identifier: Apache-2.0
#include "search/sectors.h"

#include <algorithm>

namespace abis {

void Sectors::arrange(const std::pmr::vector<std::uint32_t>& begins, const Angle* direction,
                      const std::uint64_t* words) {
    const std::size_t n = begins.back();
    std::array<std::uint16_t, parameters::kVoteBins + 1> next{};
    for (std::size_t i = 0; i < n; ++i) ++next[sector_of(direction[i]) + 1];
    for (std::size_t s = 1; s < next.size(); ++s) next[s] = static_cast<std::uint16_t>(next[s] + next[s - 1]);
    begins_ = next;
    words_.assign(n + kSectorBlock - 1, 0);
    slots_.assign(n, 0);
    for (std::size_t slot = 0; slot + 1 < begins.size(); ++slot) {
        for (std::size_t i = begins[slot]; i < begins[slot + 1]; ++i) {
            const std::size_t place = next[sector_of(direction[i])]++;
            words_[place] = words[i];
            slots_[place] = static_cast<std::uint8_t>(slot);
        }
    }
}

std::size_t Sectors::find(std::size_t slot, std::size_t sector) const {
    constexpr std::size_t kNear = 32;
    const std::size_t begin = begins_[sector], end = begins_[sector + 1], near = guess(slot, sector);
    std::size_t first = std::max(begin + kNear, near) - kNear, last = std::min(near + kNear, end);
    if (first > begin && slots_[first - 1] >= slot) first = begin;
    if (last < end && slots_[last] < slot) last = end;
    for (std::size_t left = last - first; left > 0;) {  // std::lower_bound without unpredictable branches
        const std::size_t half = (left + 1) / 2;
        first += half * static_cast<std::size_t>(slots_[first + half - 1] < slot);
        left -= half;
    }
    return first;
}

void Sectors::fetch(std::size_t slot, const Angle* direction, std::size_t n) const {
    constexpr std::ptrdiff_t kLineWords = 8;
    for (std::size_t i = 0; i < n; ++i) {
        const std::size_t near = guess(slot, sector_of(direction[i]));
        __builtin_prefetch(slots_.data() + near);
        for (const std::ptrdiff_t off : {-kLineWords, std::ptrdiff_t{0}, kLineWords})  // a guess is some words off
            __builtin_prefetch(words_.data() + static_cast<std::ptrdiff_t>(near) + off);
    }
}

void Sectors::words_of(std::size_t slot, const Angle* direction, std::size_t n, std::uint64_t* words) const {
    std::array<std::uint16_t, parameters::kVoteBins> next;
    std::uint32_t known = 0;
    static_assert(parameters::kVoteBins <= 32);
    for (std::size_t i = 0; i < n; ++i) {
        const std::size_t s = sector_of(direction[i]);
        if ((known >> s & 1) == 0) {
            known |= std::uint32_t{1} << s;
            next[s] = static_cast<std::uint16_t>(find(slot, s));
        }
        words[i] = words_[next[s]++];
    }
}

std::size_t Sectors::memory_bytes() const {
    return words_.capacity() * sizeof words_[0] + slots_.capacity() * sizeof slots_[0];
}

}  // namespace abis
