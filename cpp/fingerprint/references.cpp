// SPDX-License-Identifier: Apache-2.0
#include "fingerprint/references.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "fingerprint/fingerprint.h"

namespace abis {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kPrepareBlock = 16;   // templates a thread takes at a time: about a millisecond
constexpr std::size_t kCompareBlock = 128;  // comparisons a thread takes at a time, most of which a cutoff ends early
constexpr std::size_t kPairBlock = 16;      // comparisons a thread takes at a time, without a cutoff

// One for each thread, made when it first compares.
class Workspaces {
public:
    explicit Workspaces(unsigned threads) : all_(threads) {}
    Workspace& of(unsigned worker) {
        auto& own = all_[worker];
        if (!own) own = std::make_unique_for_overwrite<Workspace>();
        return *own;
    }

private:
    std::vector<std::unique_ptr<Workspace>> all_;
};

std::size_t block_bytes(std::size_t n) { return (PreparedView::bytes(n) + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

void References::Free::operator()(std::byte* chunk) const noexcept { std::free(chunk); }

std::byte* References::allocate(std::size_t n) {
    auto& spare = spare_[padded(n) / kLanes];
    if (!spare.empty()) {
        std::byte* block = spare.back();
        spare.pop_back();
        return block;
    }
    const std::size_t bytes = block_bytes(n);
    if (chunks_.empty() || used_in_last_ + bytes > kChunkBytes) {
        std::unique_ptr<std::byte, Free> chunk(static_cast<std::byte*>(std::aligned_alloc(kAlignment, kChunkBytes)));
        if (!chunk) throw std::bad_alloc();
        chunks_.push_back(std::move(chunk));
        used_in_last_ = 0;
    }
    std::byte* block = chunks_.back().get() + used_in_last_;
    used_in_last_ += bytes;
    return block;
}

std::size_t References::append(const std::vector<RawTemplate>& templates, unsigned threads,
                               const std::function<void()>& poll) {
    const std::size_t first = size();
    try {
        for (const RawTemplate& raw : templates) {
            sizes_.push_back(static_cast<std::uint8_t>(raw.n));
            blocks_.push_back(nullptr);
            blocks_.back() = allocate(raw.n);
        }
        for_blocks(
            templates.size(), kPrepareBlock, thread_count(threads),
            [&](std::size_t begin, std::size_t end, unsigned) {
                for (std::size_t t = begin; t < end; ++t) {
                    PreparedView::write(normalise(templates[t]), blocks_[first + t]);
                }
            },
            poll);
    } catch (...) {  // as if nothing had been appended; the blocks are lost until the object goes
        blocks_.resize(first);
        sizes_.resize(first);
        throw;
    }
    return first;
}

void References::remove(std::size_t slot) {
    if (blocks_[slot] == nullptr) return;
    spare_[padded(sizes_[slot]) / kLanes].push_back(blocks_[slot]);  // first: it may throw
    std::memset(blocks_[slot], 0, block_bytes(sizes_[slot]));
    blocks_[slot] = nullptr;
}

std::size_t References::memory_bytes() const {
    std::size_t spare_entries = 0;
    for (const auto& spare : spare_) spare_entries += spare.capacity();
    return chunks_.size() * kChunkBytes + (blocks_.capacity() + spare_entries) * sizeof(std::byte*) + sizes_.capacity();
}

void References::compare(const RawTemplate& probe, const std::int64_t* slots, std::size_t count, float cutoff,
                         unsigned threads, const std::function<void()>& poll, float* scores) const {
    const PreparedTemplate prepared(probe);
    threads = std::min(thread_count(threads), static_cast<unsigned>(count / kCompareBlock + 1));
    Workspaces workspaces(threads);
    for_blocks(
        count, kCompareBlock, threads,
        [&](std::size_t begin, std::size_t end, unsigned worker) {
            for (std::size_t k = begin; k < end; ++k) {
                const std::size_t slot = slots == nullptr ? k : static_cast<std::size_t>(slots[k]);
                scores[k] = score_of(prepared.view(), slot, cutoff, workspaces.of(worker));
            }
        },
        poll);
}

void References::compare_pairs(const std::int64_t* probes, const std::int64_t* references, std::size_t count,
                               unsigned threads, const std::function<void()>& poll, float* scores) const {
    threads = std::min(thread_count(threads), static_cast<unsigned>(count / kPairBlock + 1));
    Workspaces workspaces(threads);
    for_blocks(
        count, kPairBlock, threads,
        [&](std::size_t begin, std::size_t end, unsigned worker) {
            for (std::size_t k = begin; k < end; ++k) {
                const auto probe = static_cast<std::size_t>(probes[k]);
                scores[k] = blocks_[probe] == nullptr
                                ? std::numeric_limits<float>::quiet_NaN()
                                : score_of({blocks_[probe], sizes_[probe]}, static_cast<std::size_t>(references[k]),
                                           -std::numeric_limits<float>::infinity(), workspaces.of(worker));
            }
        },
        poll);
}

float References::score_of(const PreparedView& probe, std::size_t slot, float cutoff, Workspace& workspace) const {
    if (blocks_[slot] == nullptr) return std::numeric_limits<float>::quiet_NaN();
    return abis::compare(probe, {blocks_[slot], sizes_[slot]}, cutoff, workspace).score;
}

}  // namespace abis
