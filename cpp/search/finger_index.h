// SPDX-License-Identifier: Apache-2.0
// Many fingers in little memory, to be searched: of a minutia 17 bytes of code, unless it is too uncertain to have one,
// and 6.25 that a full comparison needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <memory_resource>
#include <span>
#include <vector>

#include "core/large_pages.h"
#include "fingerprint/prepared.h"
#include "fingerprint/template.h"
#include "search/code.h"
#include "search/code_kernels.h"
#include "search/sectors.h"

namespace abis {

// Every column of an index, one row a slot or a minutia, slot by slot; it owns nothing. T is const or not.
template <template <class> class Pointer>
struct BasicIndexColumns {
    Pointer<std::uint8_t> sizes, removed;  // of each slot: its minutiae; 1 where it is removed
    Pointer<std::uint64_t> first, second;  // of each minutia: the words of its code ...
    Pointer<std::int16_t> x, y;            // ... and itself, as in Minutia
    Pointer<std::uint8_t> direction, kind, reliability;
};
template <class T>
using In = const T*;
template <class T>
using Out = T*;
using IndexColumns = BasicIndexColumns<In>;
using MutableIndexColumns = BasicIndexColumns<Out>;

// Reads one slot of n minutiae that begin at row `begin`. Throws std::invalid_argument where a value is none that
// FingerIndex::write gives.
void read_slot(const IndexColumns& columns, std::size_t begin, std::size_t n, Minutia* minutiae, MinutiaCode* codes);

// A probe made ready once for any number of searches.
struct FingerProbe {
    explicit FingerProbe(const RawTemplate& raw) : coded(coded_probe(normalise(raw))), prepared(raw) {}

    CodedProbe coded;
    PreparedTemplate prepared;
};

// Slots are numbered from 0 in the order of append and never used again; a removed one is wiped and keeps its
// memory. Any number of threads may read; append and remove need the index to themselves. Evidence is in natural
// log units, a rough log likelihood ratio that adds up over fingers; -infinity for a removed slot.
class FingerIndex {
public:
    // Returns the first one's slot. Where it throws, by want of memory or by poll, the index stays as it was.
    std::size_t append(const std::vector<RawTemplate>& templates, unsigned threads, const std::function<void()>& poll);
    // Takes in what `write` wrote. Throws std::invalid_argument where a value is none that `write` gives; the index
    // then stays as it was. The lengths of the columns are the caller's affair.
    void append(const IndexColumns& columns, std::size_t slots);
    void remove(std::size_t slot);

    std::size_t size() const { return size_; }
    std::size_t minutiae() const;
    std::size_t memory_bytes() const;
    void write(const MutableIndexColumns& columns) const;

    // What a probe finds in a first look; there is room for the evidence of every slot.
    struct Look {
        const FingerProbe* probe;
        float* evidence;
    };
    // Of every slot, for each of some probes: what it has of the first words of the probe's most telling minutiae,
    // turned alike, and not far. Words are read from memory once for all probes, so a batch takes less time than one by
    // one.
    void screen(std::span<const Look> looks, unsigned threads, const std::function<void()>& poll) const;
    // Of some slots: what they have of the second words, turned alike; about the time that three slots take to screen.
    void sift(const FingerProbe& probe, const std::int64_t* slots, std::size_t count, unsigned threads,
              const std::function<void()>& poll, float* evidence) const;
    // Of some slots: how well pairs of minutiae of like codes lie to each other; some ten times the time of that.
    void refine(const FingerProbe& probe, const std::int64_t* slots, std::size_t count, unsigned threads,
                const std::function<void()>& poll, float* evidence) const;
    // Raw scores, those of abis::compare to the bit; NaN for a removed slot.
    void compare(const FingerProbe& probe, const std::int64_t* slots, std::size_t count, unsigned threads,
                 const std::function<void()>& poll, float* scores) const;

    // What abis::content gives of the template of a slot; 0 for a removed slot.
    std::int64_t content(std::size_t slot) const;

private:
    static constexpr std::size_t kChunkSlots = kSectorSlots;
    static constexpr std::size_t kFirstBlock = 1 << 18;  // bytes, of a memory whose blocks grow

    template <class T>
    using Column = std::pmr::vector<T>;

    // Columns of kChunkSlots slots, the last chunk's of fewer; a full one is sealed, and takes no more room than it
    // needs. Of a slot's minutiae those whose codes tell something come first, then the others; both in the order of
    // the template.
    struct Chunk {
        explicit Chunk(std::pmr::memory_resource* memory);
        Chunk(const Chunk& other, std::pmr::memory_resource* memory);

        Column<std::uint32_t> begins;       // where the minutiae of each slot begin, and the last ones end
        Column<std::uint32_t> code_begins;  // the same of the codes
        Column<std::uint8_t> removed;
        Sectors first;                 // words of the codes ...
        Column<std::uint64_t> second;  // ... kLanes - 1 more may be read
        Column<std::int16_t> x, y;
        Column<Angle> direction;
        Column<std::uint8_t> kinds;  // of four minutiae a byte
        Column<std::uint8_t> reliability;

        std::size_t slots() const { return removed.size(); }
        std::size_t size(std::size_t slot) const { return begins[slot + 1] - begins[slot]; }
        std::size_t codes(std::size_t slot) const { return code_begins[slot + 1] - code_begins[slot]; }
        CodedView view(std::size_t slot, const std::uint64_t* first_words) const;
        Minutia minutia(std::size_t index) const;
        // Calls visit(k) for each minutia of a slot in the order of the template; it is the slot's k-th here.
        template <class Visit>
        void in_order(std::size_t slot, Visit visit) const;
        void unpack(std::size_t slot, Minutia* minutiae) const;        // in the order of the template
        void unpack_coded(std::size_t slot, Minutia* minutiae) const;  // in the order of the codes
        void first_words(std::size_t slot, std::uint64_t* words) const;
        std::vector<std::uint64_t> all_first_words() const;
        // Of the minutiae that have codes, slot by slot.
        std::vector<Angle> directions_of_codes() const;
        void arrange(const std::vector<std::uint64_t>& first_words);
        // Ask the memory for where a slot is, for what votes, and for what poses will read of it; in this order.
        void fetch_place(std::size_t slot) const;
        void fetch_for_votes(std::size_t slot) const;
        void fetch_for_poses(std::size_t slot) const;
        void append(const Minutia* minutiae, const MinutiaCode* codes, std::size_t n);  // but for the first words
        void wipe(std::size_t slot);
        std::size_t memory_bytes() const;
    };
    struct Place {
        const Chunk& chunk;
        std::size_t slot;  // in the chunk
    };
    // Asks the memory for what a look at slots[0] and the next ones will read, step by step: where it is stands in what
    // the step before has asked for. There are `left` slots.
    void fetch(const std::int64_t* slots, std::size_t left, bool for_poses) const;
    Place at(std::size_t slot) const { return {chunks_[slot / kChunkSlots], slot % kChunkSlots}; }

    // Takes in slots one by one, and changes the index when all are there.
    class Appender;

    static std::unique_ptr<std::pmr::monotonic_buffer_resource> sealed_memory(std::size_t minutiae, std::size_t codes,
                                                                              std::size_t slots);

    // Of sealed chunks, which stay; behind a pointer so that an index may move.
    std::unique_ptr<std::pmr::monotonic_buffer_resource> sealed_ =
        std::make_unique<std::pmr::monotonic_buffer_resource>(kFirstBlock, large_pages());
    std::vector<Chunk> chunks_;
    std::size_t size_ = 0;
};

}  // namespace abis
