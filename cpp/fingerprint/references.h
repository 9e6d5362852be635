// SPDX-License-Identifier: Apache-2.0
// Many prepared templates, packed in memory; a probe is compared with all or some of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/parallel.h"
#include "fingerprint/prepared.h"
#include "fingerprint/template.h"
#include "fingerprint/workspace.h"

namespace abis {

// Slots are numbered from 0 in the order of append and never used again. Memory of a removed slot serves the
// next template of like size. Comparing is safe from many threads; append and remove are not, nor beside it.
class References {
public:
    References() = default;
    References(const References&) = delete;
    References& operator=(const References&) = delete;

    // Prepares the templates on several threads. Returns the first one's slot.
    std::size_t append(const std::vector<RawTemplate>& templates, unsigned threads, const std::function<void()>& poll);

    // Empties a slot and wipes what it held; a slot that is empty stays so.
    void remove(std::size_t slot);

    std::size_t size() const { return blocks_.size(); }

    // Of the prepared templates and of the tables that find them.
    std::size_t memory_bytes() const;

    // Raw scores of the probe against slots[0 .. count), or slots 0 .. count - 1 where that is null; NaN for
    // an empty slot. For the cutoff see abis::compare.
    void compare(const RawTemplate& probe, const std::int64_t* slots, std::size_t count, float cutoff, unsigned threads,
                 const std::function<void()>& poll, float* scores) const;

    // Raw scores of slots probes[k] against slots references[k], in full; NaN where either is empty.
    void compare_pairs(const std::int64_t* probes, const std::int64_t* references, std::size_t count, unsigned threads,
                       const std::function<void()>& poll, float* scores) const;

private:
    static constexpr std::size_t kChunkBytes = std::size_t{1} << 24;
    struct Free {
        void operator()(std::byte* chunk) const noexcept;
    };
    std::byte* allocate(std::size_t n);  // a block for n minutiae
    float score_of(const PreparedView& probe, std::size_t slot, float cutoff, Workspace& workspace) const;

    std::vector<std::unique_ptr<std::byte, Free>> chunks_;
    std::size_t used_in_last_ = 0;
    std::array<std::vector<std::byte*>, parameters::kMaxMinutiae / kLanes + 2> spare_;  // by padded size
    std::vector<std::byte*> blocks_;                                                    // of each slot; null: empty
    std::vector<std::uint8_t> sizes_;                                                   // minutiae in each slot
};

}  // namespace abis
