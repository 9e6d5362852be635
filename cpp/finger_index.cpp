// SPDX-License-Identifier: Apache-2.0
#include "finger_index.h"

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>

#include "code_evidence.h"
#include "fingerprint.h"
#include "parallel.h"

namespace abis {
namespace {

using namespace parameters;

constexpr std::size_t kPrepareBlock = 16;  // templates a thread takes at a time: a millisecond or less
constexpr std::size_t kRefineBlock = 64;
constexpr std::size_t kCompareBlock = 8;
constexpr std::size_t kKindsAByte = 4;
constexpr unsigned kKindMask = 3;

unsigned kind_shift(std::size_t i) { return 2 * static_cast<unsigned>(i % kKindsAByte); }

template <class T>
std::size_t bytes(const std::vector<T>& column) {
    return column.capacity() * sizeof(T);
}

// What one thread needs to prepare and compare a reference.
struct Comparer {
    alignas(64) std::array<std::byte, PreparedView::bytes(kMaxMinutiae)> block;
    std::vector<Minutia> minutiae;
    Workspace workspace;
};

}  // namespace

CodedView FingerIndex::Chunk::view(std::size_t slot) const {
    const std::size_t begin = begins[slot];
    return {begins[slot + 1] - begin, first.data() + begin, second.data() + begin, direction.data() + begin};
}

Minutia FingerIndex::Chunk::minutia(std::size_t i) const {
    const auto kind = static_cast<Kind>(kinds[i / kKindsAByte] >> kind_shift(i) & kKindMask);
    return {x[i], y[i], direction[i], kind, reliability[i]};
}

void FingerIndex::Chunk::unpack(std::size_t slot, Minutia* minutiae) const {
    for (std::size_t i = begins[slot]; i < begins[slot + 1]; ++i) *minutiae++ = minutia(i);
}

void FingerIndex::Chunk::append(const Minutia* minutiae, const MinutiaCode* codes, std::size_t n) {
    const std::size_t begin = begins.back();
    first.resize(begin + n + kLanes - 1);
    second.resize(begin + n + kLanes - 1);
    for (std::size_t i = 0; i < n; ++i) {
        const Minutia& m = minutiae[i];
        first[begin + i] = codes[i].first;
        second[begin + i] = codes[i].second;
        x.push_back(m.x);
        y.push_back(m.y);
        direction.push_back(m.direction);
        if ((begin + i) % kKindsAByte == 0) kinds.push_back(0);
        kinds.back() = static_cast<std::uint8_t>(kinds.back() | static_cast<unsigned>(m.kind) << kind_shift(begin + i));
        reliability.push_back(m.reliability);
    }
    begins.push_back(static_cast<std::uint32_t>(begin + n));
    removed.push_back(0);
}

void FingerIndex::Chunk::wipe(std::size_t slot) {
    const auto begin = static_cast<std::ptrdiff_t>(begins[slot]), end = static_cast<std::ptrdiff_t>(begins[slot + 1]);
    const auto clear = [&](auto& column) { std::fill(column.begin() + begin, column.begin() + end, 0); };
    clear(first);
    clear(second);
    clear(x);
    clear(y);
    clear(direction);
    clear(reliability);
    for (std::size_t i = begins[slot]; i < begins[slot + 1]; ++i) {
        auto& four = kinds[i / kKindsAByte];
        four = static_cast<std::uint8_t>(four & ~(kKindMask << kind_shift(i)));
    }
    removed[slot] = 1;
}

void FingerIndex::Chunk::shrink() {
    begins.shrink_to_fit();
    removed.shrink_to_fit();
    first.shrink_to_fit();
    second.shrink_to_fit();
    x.shrink_to_fit();
    y.shrink_to_fit();
    direction.shrink_to_fit();
    kinds.shrink_to_fit();
    reliability.shrink_to_fit();
}

std::size_t FingerIndex::Chunk::memory_bytes() const {
    return sizeof *this + bytes(begins) + bytes(removed) + bytes(first) + bytes(second) + bytes(x) + bytes(y) +
           bytes(direction) + bytes(kinds) + bytes(reliability);
}

std::size_t FingerIndex::minutiae() const {
    std::size_t sum = 0;
    for (const Chunk& chunk : chunks_) sum += chunk.begins.back();
    return sum;
}

std::size_t FingerIndex::memory_bytes() const {
    std::size_t sum = (chunks_.capacity() - chunks_.size()) * sizeof(Chunk);
    for (const Chunk& chunk : chunks_) sum += chunk.memory_bytes();
    return sum;
}

void FingerIndex::push(const Minutia* minutiae, const MinutiaCode* codes, std::size_t n) {
    if (size_ % kChunkSlots == 0) {
        if (!chunks_.empty()) chunks_.back().shrink();
        chunks_.emplace_back();
    }
    chunks_.back().append(minutiae, codes, n);
    ++size_;
}

std::size_t FingerIndex::append(const std::vector<RawTemplate>& templates, unsigned threads,
                                const std::function<void()>& poll) {
    std::vector<std::vector<Minutia>> minutiae(templates.size());
    std::vector<std::vector<MinutiaCode>> codes(templates.size());
    for_blocks(
        templates.size(), kPrepareBlock, thread_count(threads),
        [&](std::size_t begin, std::size_t end, unsigned) {
            for (std::size_t t = begin; t < end; ++t) {
                minutiae[t] = normalise(templates[t]);
                codes[t].resize(minutiae[t].size());
                encode(minutiae[t], codes[t].data());
            }
        },
        poll);
    const std::size_t slot = size_;
    for (std::size_t t = 0; t < templates.size(); ++t) push(minutiae[t].data(), codes[t].data(), minutiae[t].size());
    return slot;
}

void FingerIndex::append(const IndexColumns& c, std::size_t slots) {
    std::array<Minutia, kMaxMinutiae> minutiae;
    std::array<MinutiaCode, kMaxMinutiae> codes;
    std::size_t begin = 0;
    for (std::size_t s = 0; s < slots; ++s) {
        const std::size_t n = c.sizes[s];
        for (std::size_t i = 0; i < n; ++i) {
            const std::size_t k = begin + i;
            minutiae[i] = {c.x[k], c.y[k], c.direction[k], static_cast<Kind>(c.kind[k]), c.reliability[k]};
            codes[i] = {c.first[k], c.second[k]};
        }
        push(minutiae.data(), codes.data(), n);
        begin += n;
        if (c.removed[s] != 0) remove(size_ - 1);
    }
}

void FingerIndex::remove(std::size_t slot) { chunks_[slot / kChunkSlots].wipe(slot % kChunkSlots); }

std::int64_t FingerIndex::content(std::size_t slot) const {
    const Place place = at(slot);
    const std::uint8_t* reliability = place.chunk.reliability.data();
    const auto* begins = &place.chunk.begins[place.slot];
    return std::accumulate(reliability + begins[0], reliability + begins[1], std::int64_t{0});
}

void FingerIndex::write(const MutableIndexColumns& c) const {
    std::size_t s = 0, k = 0;
    for (const Chunk& chunk : chunks_) {
        for (std::size_t slot = 0; slot < chunk.slots(); ++slot, ++s) {
            c.sizes[s] = static_cast<std::uint8_t>(chunk.begins[slot + 1] - chunk.begins[slot]);
            c.removed[s] = chunk.removed[slot];
        }
        for (std::size_t i = 0; i < chunk.begins.back(); ++i, ++k) {
            const Minutia m = chunk.minutia(i);
            c.first[k] = chunk.first[i];
            c.second[k] = chunk.second[i];
            c.x[k] = m.x;
            c.y[k] = m.y;
            c.direction[k] = m.direction;
            c.kind[k] = static_cast<std::uint8_t>(m.kind);
            c.reliability[k] = m.reliability;
        }
    }
}

void FingerIndex::screen(const RawTemplate& raw, unsigned threads, const std::function<void()>& poll,
                         float* evidence) const {
    const CodedProbe probe = coded_probe(normalise(raw));
    for_blocks(
        size_, kChunkSlots, thread_count(threads),
        [&](std::size_t begin, std::size_t end, unsigned) {
            const Chunk& chunk = chunks_[begin / kChunkSlots];
            for (std::size_t s = begin; s < end; ++s) {
                const std::size_t slot = s - begin;
                evidence[s] = chunk.removed[slot] != 0 ? -std::numeric_limits<float>::infinity()
                                                       : evidence_of_votes(probe, chunk.view(slot));
            }
        },
        poll);
}

void FingerIndex::refine(const RawTemplate& raw, const std::int64_t* slots, std::size_t count, unsigned threads,
                         const std::function<void()>& poll, float* evidence) const {
    const CodedProbe probe = coded_probe(normalise(raw));
    threads = std::min(thread_count(threads), static_cast<unsigned>(count / kRefineBlock + 1));
    std::vector<std::unique_ptr<PoseWorkspace>> workspaces(threads);
    for_blocks(
        count, kRefineBlock, threads,
        [&](std::size_t begin, std::size_t end, unsigned worker) {
            auto& workspace = workspaces[worker];
            if (!workspace) workspace = std::make_unique_for_overwrite<PoseWorkspace>();
            for (std::size_t k = begin; k < end; ++k) {
                const auto [chunk, slot] = at(static_cast<std::size_t>(slots[k]));
                evidence[k] = -std::numeric_limits<float>::infinity();
                if (chunk.removed[slot] != 0) continue;
                chunk.unpack(slot, workspace->reference.data());
                evidence[k] = evidence_of_poses(probe, chunk.view(slot), *workspace);
            }
        },
        poll);
}

void FingerIndex::compare(const RawTemplate& raw, const std::int64_t* slots, std::size_t count, unsigned threads,
                          const std::function<void()>& poll, float* scores) const {
    const PreparedTemplate probe(raw);
    threads = std::min(thread_count(threads), static_cast<unsigned>(count / kCompareBlock + 1));
    std::vector<std::unique_ptr<Comparer>> comparers(threads);
    for_blocks(
        count, kCompareBlock, threads,
        [&](std::size_t begin, std::size_t end, unsigned worker) {
            auto& own = comparers[worker];
            if (!own) own = std::make_unique_for_overwrite<Comparer>();
            for (std::size_t k = begin; k < end; ++k) {
                const auto [chunk, slot] = at(static_cast<std::size_t>(slots[k]));
                if (chunk.removed[slot] != 0) {
                    scores[k] = std::numeric_limits<float>::quiet_NaN();
                    continue;
                }
                own->minutiae.resize(chunk.begins[slot + 1] - chunk.begins[slot]);
                chunk.unpack(slot, own->minutiae.data());
                PreparedView::write(own->minutiae, own->block.data());
                scores[k] = abis::compare(probe.view(), {own->block.data(), own->minutiae.size()},
                                          -std::numeric_limits<float>::infinity(), own->workspace)
                                .score;
            }
        },
        poll);
}

}  // namespace abis
