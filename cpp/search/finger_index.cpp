// SPDX-License-Identifier: Apache-2.0
#include "search/finger_index.h"

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <type_traits>

#include "core/parallel.h"
#include "fingerprint/comparer.h"
#include "search/code_evidence.h"

namespace abis {
namespace {

using namespace parameters;

constexpr std::size_t kPrepareBlock = 16;  // templates a thread takes at a time: a millisecond or less
constexpr std::size_t kScreenBlock = 4 * kSectorSlots;
constexpr std::size_t kSiftBlock = 1024;
constexpr std::size_t kRefineBlock = 64;
constexpr std::size_t kCompareBlock = 8;
constexpr std::size_t kAhead = 4;  // slots: what is looked at next lies anywhere in memory
constexpr std::size_t kKindsAByte = 4;
constexpr unsigned kKindMask = 3;

unsigned kind_shift(std::size_t i) { return 2 * static_cast<unsigned>(i % kKindsAByte); }

template <class T>
std::size_t bytes(const std::pmr::vector<T>& column) {
    return column.capacity() * sizeof(T);
}

void fetch_bytes(const void* from, std::size_t n) {
    constexpr std::size_t kLine = 64;
    const auto* bytes = static_cast<const std::byte*>(from);
    for (std::size_t at = 0; at < n + kLine - 1; at += kLine) __builtin_prefetch(bytes + at);
    asm volatile("");  // else GCC takes a caller for a function without effect, and removes the call
}

template <class T>
void fetch(const std::pmr::vector<T>& column, std::size_t begin, std::size_t n) {
    fetch_bytes(column.data() + begin, n * sizeof(T));
}

}  // namespace

// Makes the chunks that follow the full ones; `finish` puts them in their place. Until then the index stays as it is,
// whatever throws.
class FingerIndex::Appender {
public:
    explicit Appender(FingerIndex& index) : index_(index), size_(index.size_) {
        if (is_open()) {
            const Chunk& last = index_.chunks_.back();
            fresh_.emplace_back(last, std::pmr::new_delete_resource());
            first_ = last.all_first_words();
        }
    }

    void push(const Minutia* minutiae, const MinutiaCode* codes, std::size_t n, bool is_removed = false) {
        if (!is_open()) {
            fresh_.emplace_back(std::pmr::new_delete_resource());
            first_.clear();
        }
        fresh_.back().append(minutiae, codes, n);
        if (is_removed) fresh_.back().removed.back() = 1;
        for (std::size_t i = 0; i < n; ++i) {
            if (tells(codes[i])) first_.push_back(codes[i].first);
        }
        ++size_;
        if (!is_open()) seal();
    }

    void finish() {
        if (is_open()) fresh_.back().arrange(first_);
        const std::size_t kept = index_.size_ / kChunkSlots;
        if (index_.chunks_.capacity() < kept + fresh_.size())
            index_.chunks_.reserve(std::max(kept + fresh_.size(), 2 * index_.chunks_.capacity()));
        // From here on nothing throws.
        static_assert(std::is_nothrow_move_constructible_v<Chunk>);
        if (index_.chunks_.size() > kept) index_.chunks_.pop_back();
        for (Chunk& chunk : fresh_) index_.chunks_.push_back(std::move(chunk));
        index_.size_ = size_;
    }

private:
    bool is_open() const { return size_ % kChunkSlots != 0; }

    void seal() {
        fresh_.back().arrange(first_);
        Chunk sealed(fresh_.back(), index_.sealed_.get());
        fresh_.pop_back();
        fresh_.push_back(std::move(sealed));
    }

    FingerIndex& index_;
    std::size_t size_;                  // of the index to be
    std::vector<Chunk> fresh_;          // a copy of the last chunk if it was not full, and those after it
    std::vector<std::uint64_t> first_;  // words of the last chunk, slot by slot
};

FingerIndex::Chunk::Chunk(std::pmr::memory_resource* memory)
    : begins(1, 0, memory),
      code_begins(1, 0, memory),
      removed(memory),
      first(memory),
      second(kLanes - 1, 0, memory),
      x(memory),
      y(memory),
      direction(memory),
      kinds(memory),
      reliability(memory) {}

FingerIndex::Chunk::Chunk(const Chunk& other, std::pmr::memory_resource* memory)
    : begins(other.begins, memory),
      code_begins(other.code_begins, memory),
      removed(other.removed, memory),
      first(other.first, memory),
      second(other.second, memory),
      x(other.x, memory),
      y(other.y, memory),
      direction(other.direction, memory),
      kinds(other.kinds, memory),
      reliability(other.reliability, memory) {}

CodedView FingerIndex::Chunk::view(std::size_t slot, const std::uint64_t* words) const {
    return {codes(slot), words, second.data() + code_begins[slot], direction.data() + begins[slot]};
}

void FingerIndex::Chunk::fetch_place(std::size_t slot) const {
    abis::fetch(begins, slot, 2);
    abis::fetch(code_begins, slot, 2);
    abis::fetch(removed, slot, 1);
}

void FingerIndex::Chunk::fetch_for_votes(std::size_t slot) const {
    abis::fetch(second, code_begins[slot], codes(slot));
    abis::fetch(direction, begins[slot], codes(slot));
}

void FingerIndex::Chunk::fetch_for_poses(std::size_t slot) const {
    abis::fetch(x, begins[slot], codes(slot));
    abis::fetch(y, begins[slot], codes(slot));
    abis::fetch(reliability, begins[slot], codes(slot));
    first.fetch(slot, direction.data() + begins[slot], codes(slot));
}

void FingerIndex::Chunk::first_words(std::size_t slot, std::uint64_t* words) const {
    first.words_of(slot, direction.data() + begins[slot], codes(slot), words);
}

std::vector<std::uint64_t> FingerIndex::Chunk::all_first_words() const {
    std::vector<std::uint64_t> words(code_begins.back());
    for (std::size_t slot = 0; slot < slots(); ++slot) first_words(slot, words.data() + code_begins[slot]);
    return words;
}

std::vector<Angle> FingerIndex::Chunk::directions_of_codes() const {
    std::vector<Angle> directions;
    directions.reserve(code_begins.back());
    for (std::size_t slot = 0; slot < slots(); ++slot) {
        const auto from = direction.begin() + static_cast<std::ptrdiff_t>(begins[slot]);
        directions.insert(directions.end(), from, from + static_cast<std::ptrdiff_t>(codes(slot)));
    }
    return directions;
}

void FingerIndex::Chunk::arrange(const std::vector<std::uint64_t>& first_words) {
    first.arrange(code_begins, directions_of_codes().data(), first_words.data());
}

Minutia FingerIndex::Chunk::minutia(std::size_t i) const {
    const auto kind = static_cast<Kind>(kinds[i / kKindsAByte] >> kind_shift(i) & kKindMask);
    return {x[i], y[i], direction[i], kind, reliability[i]};
}

template <class Visit>
void FingerIndex::Chunk::in_order(std::size_t slot, Visit visit) const {
    const std::size_t begin = begins[slot], coded = codes(slot), n = size(slot);
    for (std::size_t a = 0, b = coded; a < coded || b < n;) {
        const bool is_other_next = a == coded || (b < n && order_of(minutia(begin + b)) < order_of(minutia(begin + a)));
        visit(is_other_next ? b++ : a++);
    }
}

void FingerIndex::Chunk::unpack(std::size_t slot, Minutia* minutiae) const {
    in_order(slot, [&](std::size_t k) { *minutiae++ = minutia(begins[slot] + k); });
}

void FingerIndex::Chunk::unpack_coded(std::size_t slot, Minutia* minutiae) const {
    for (std::size_t k = 0; k < codes(slot); ++k) *minutiae++ = minutia(begins[slot] + k);
}

void FingerIndex::Chunk::append(const Minutia* minutiae, const MinutiaCode* codes, std::size_t n) {
    const auto push = [&](const Minutia& m) {
        const std::size_t at = x.size();
        x.push_back(m.x);
        y.push_back(m.y);
        direction.push_back(m.direction);
        if (at % kKindsAByte == 0) kinds.push_back(0);
        kinds.back() = static_cast<std::uint8_t>(kinds.back() | static_cast<unsigned>(m.kind) << kind_shift(at));
        reliability.push_back(m.reliability);
    };
    std::size_t coded = code_begins.back();
    for (std::size_t i = 0; i < n; ++i) {
        if (!tells(codes[i])) continue;
        push(minutiae[i]);
        second.resize(coded + 1 + kLanes - 1);
        second[coded++] = codes[i].second;
    }
    for (std::size_t i = 0; i < n; ++i) {
        if (!tells(codes[i])) push(minutiae[i]);
    }
    begins.push_back(static_cast<std::uint32_t>(x.size()));
    code_begins.push_back(static_cast<std::uint32_t>(coded));
    removed.push_back(0);
}

void FingerIndex::Chunk::wipe(std::size_t slot) {
    const auto clear = [slot](auto& column, const Column<std::uint32_t>& of) {
        std::fill(column.begin() + static_cast<std::ptrdiff_t>(of[slot]),
                  column.begin() + static_cast<std::ptrdiff_t>(of[slot + 1]), 0);
    };
    std::vector<std::uint64_t> words = all_first_words();
    std::vector<Angle> directions = directions_of_codes();  // the last allocation: what follows cannot fail
    clear(words, code_begins);
    clear(directions, code_begins);
    clear(second, code_begins);
    clear(x, begins);
    clear(y, begins);
    clear(direction, begins);
    clear(reliability, begins);
    for (std::size_t i = begins[slot]; i < begins[slot + 1]; ++i) {
        auto& four = kinds[i / kKindsAByte];
        four = static_cast<std::uint8_t>(four & ~(kKindMask << kind_shift(i)));
    }
    removed[slot] = 1;
    first.arrange(code_begins, directions.data(), words.data());
}

std::size_t FingerIndex::Chunk::memory_bytes() const {
    return sizeof *this + bytes(begins) + bytes(code_begins) + bytes(removed) + first.memory_bytes() + bytes(second) +
           bytes(x) + bytes(y) + bytes(direction) + bytes(kinds) + bytes(reliability);
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

std::size_t FingerIndex::append(const std::vector<RawTemplate>& templates, unsigned threads,
                                const std::function<void()>& poll) {
    std::vector<std::vector<Minutia>> minutiae(templates.size());
    std::vector<std::vector<MinutiaCode>> codes(templates.size());
    for_blocks(
        templates.size(), kPrepareBlock, threads,
        [&](std::size_t begin, std::size_t end, unsigned) {
            for (std::size_t t = begin; t < end; ++t) {
                minutiae[t] = normalise(templates[t]);
                codes[t].resize(minutiae[t].size());
                encode(minutiae[t], codes[t].data());
            }
        },
        poll);
    const std::size_t slot = size_;
    Appender appender(*this);
    for (std::size_t t = 0; t < templates.size(); ++t)
        appender.push(minutiae[t].data(), codes[t].data(), minutiae[t].size());
    appender.finish();
    return slot;
}

// Memory for sealed chunks with a number of minutiae and codes, in one block: of several blocks the last is never full.
std::unique_ptr<std::pmr::monotonic_buffer_resource> FingerIndex::sealed_memory(std::size_t minutiae, std::size_t codes,
                                                                                std::size_t slots) {
    constexpr std::size_t kOfMinutia = 2 * sizeof(std::int16_t) + sizeof(Angle) + 2;
    constexpr std::size_t kOfCode = 2 * sizeof(std::uint64_t) + 1;
    constexpr std::size_t kOfSlot = 2 * sizeof(std::uint32_t) + 1, kOfChunk = 1024;  // padding and room to read beyond
    const std::size_t bytes =
        minutiae * kOfMinutia + codes * kOfCode + slots * kOfSlot + slots / kChunkSlots * kOfChunk;
    return std::make_unique<std::pmr::monotonic_buffer_resource>(std::max(kFirstBlock, bytes), large_pages());
}

void read_slot(const IndexColumns& c, std::size_t begin, std::size_t n, Minutia* minutiae, MinutiaCode* codes) {
    const auto check = [](bool good, const char* what) {
        if (!good) throw std::invalid_argument(what);
    };
    for (std::size_t i = 0; i < n; ++i) {
        const std::size_t k = begin + i;
        const Minutia m{c.x[k], c.y[k], c.direction[k], static_cast<Kind>(c.kind[k]), c.reliability[k]};
        check(i == 0 || minutiae[i - 1].x <= m.x, "x must ascend in each slot");
        check(m.kind <= Kind::bifurcation, "kind must be 0 to 2");
        check(m.reliability <= 100, "reliability must be 0 to 100");
        minutiae[i] = m;
        codes[i] = {c.first[k], c.second[k]};
    }
}

void FingerIndex::append(const IndexColumns& c, std::size_t slots) {
    std::array<Minutia, kMaxMinutiae> minutiae;
    std::array<MinutiaCode, kMaxMinutiae> codes;
    if (size_ == 0) {
        const std::size_t n = std::accumulate(c.sizes, c.sizes + slots, std::size_t{0});
        std::size_t coded = 0;
        for (std::size_t k = 0; k < n; ++k) coded += tells({c.first[k], c.second[k]}) ? 1 : 0;
        sealed_ = sealed_memory(n, coded, slots);
    }
    Appender appender(*this);
    std::size_t begin = 0;
    for (std::size_t s = 0; s < slots; ++s) {
        const bool is_removed = c.removed[s] != 0;
        read_slot(c, begin, c.sizes[s], minutiae.data(), codes.data());
        if (is_removed) {
            minutiae.fill({});
            codes.fill(empty_code());
        }
        appender.push(minutiae.data(), codes.data(), c.sizes[s], is_removed);
        begin += c.sizes[s];
    }
    appender.finish();
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
        const std::vector<std::uint64_t> first = chunk.all_first_words();
        for (std::size_t slot = 0; slot < chunk.slots(); ++slot) {
            const std::size_t begin = chunk.code_begins[slot];
            const MinutiaCode none = chunk.removed[slot] != 0 ? MinutiaCode{} : empty_code();
            chunk.in_order(slot, [&](std::size_t i) {
                const Minutia m = chunk.minutia(chunk.begins[slot] + i);
                const bool is_coded = i < chunk.codes(slot);
                c.first[k] = is_coded ? first[begin + i] : none.first;
                c.second[k] = is_coded ? chunk.second[begin + i] : none.second;
                c.x[k] = m.x;
                c.y[k] = m.y;
                c.direction[k] = m.direction;
                c.kind[k] = static_cast<std::uint8_t>(m.kind);
                c.reliability[k] = m.reliability;
                ++k;
            });
        }
    }
}

void FingerIndex::screen(std::span<const Look> looks, unsigned threads, const std::function<void()>& poll) const {
    for_blocks_with<SlotVotes>(
        size_, kScreenBlock, threads,
        [&](std::size_t begin, std::size_t end, SlotVotes& votes) {
            for (; begin < end; begin += kChunkSlots) {
                const Chunk& chunk = chunks_[begin / kChunkSlots];
                for (const Look& look : looks) {
                    float* evidence = look.evidence + begin;
                    evidence_of_upright_votes(look.probe->coded, chunk.first.view(), chunk.code_begins.data(),
                                              chunk.slots(), votes, evidence);
                    for (std::size_t s = 0; s < chunk.slots(); ++s) {
                        if (chunk.removed[s] != 0) evidence[s] = -std::numeric_limits<float>::infinity();
                    }
                }
            }
        },
        poll);
}

void FingerIndex::fetch(const std::int64_t* slots, std::size_t left, bool for_poses) const {
    const auto ahead = [&](std::size_t steps, const auto& ask) {
        if (steps * kAhead < left) ask(at(static_cast<std::size_t>(slots[steps * kAhead])));
    };
    ahead(4, [](Place place) { fetch_bytes(&place.chunk, sizeof place.chunk); });
    ahead(3, [](Place place) { place.chunk.fetch_place(place.slot); });
    ahead(for_poses ? 2 : 1, [](Place place) { place.chunk.fetch_for_votes(place.slot); });
    if (for_poses) ahead(1, [](Place place) { place.chunk.fetch_for_poses(place.slot); });
}

void FingerIndex::sift(const FingerProbe& probe, const std::int64_t* slots, std::size_t count, unsigned threads,
                       const std::function<void()>& poll, float* evidence) const {
    for_blocks(
        count, kSiftBlock, threads,
        [&](std::size_t begin, std::size_t end, unsigned) {
            for (std::size_t k = begin; k < end; ++k) {
                fetch(slots + k, end - k, false);
                const auto [chunk, slot] = at(static_cast<std::size_t>(slots[k]));
                evidence[k] = chunk.removed[slot] != 0 ? -std::numeric_limits<float>::infinity()
                                                       : evidence_of_votes(probe.coded, chunk.view(slot, nullptr));
            }
        },
        poll);
}

void FingerIndex::refine(const FingerProbe& probe, const std::int64_t* slots, std::size_t count, unsigned threads,
                         const std::function<void()>& poll, float* evidence) const {
    for_blocks_with<PoseWorkspace>(
        count, kRefineBlock, threads,
        [&](std::size_t begin, std::size_t end, PoseWorkspace& workspace) {
            for (std::size_t k = begin; k < end; ++k) {
                fetch(slots + k, end - k, true);
                const auto [chunk, slot] = at(static_cast<std::size_t>(slots[k]));
                evidence[k] = -std::numeric_limits<float>::infinity();
                if (chunk.removed[slot] != 0) continue;
                chunk.unpack_coded(slot, workspace.reference.data());
                chunk.first_words(slot, workspace.first.data());
                evidence[k] = evidence_of_poses(probe.coded, chunk.view(slot, workspace.first.data()), workspace);
            }
        },
        poll);
}

void FingerIndex::compare(const FingerProbe& probe, const std::int64_t* slots, std::size_t count, unsigned threads,
                          const std::function<void()>& poll, float* scores) const {
    for_blocks_with<Comparer>(
        count, kCompareBlock, threads,
        [&](std::size_t begin, std::size_t end, Comparer& comparer) {
            for (std::size_t k = begin; k < end; ++k) {
                const auto [chunk, slot] = at(static_cast<std::size_t>(slots[k]));
                scores[k] = std::numeric_limits<float>::quiet_NaN();
                if (chunk.removed[slot] != 0) continue;
                comparer.minutiae.resize(chunk.size(slot));
                chunk.unpack(slot, comparer.minutiae.data());
                scores[k] = comparer.score(probe.prepared.view());
            }
        },
        poll);
}

}  // namespace abis
