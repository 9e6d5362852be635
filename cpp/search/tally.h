// SPDX-License-Identifier: Apache-2.0
// The evidence of a first look for every subject of a gallery, and the subjects with the most evidence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace abis {

// The subjects that own the references of a block: subjects[k] owns the k-th, or first + k where `subjects` is null.
template <class Key>
struct Owners {
    std::size_t first;  // of a run of keys
    const Key* subjects;
    std::size_t count;
    const std::uint8_t* gone;  // not 0 where one has been removed; null where none has
};

// Evidence of the positions of a probe, in natural log units, added up by subject: of several references that one
// position is compared with, the best counts; -infinity is none. One thread at a time; its memory serves the next
// search.
class Tally {
public:
    // Begins a search without any evidence; keys of subjects are below `span`.
    // Where memory is not enough, std::bad_alloc or std::length_error, all stays as it was; so for the next two.
    void begin(std::size_t span);
    // Begins the next position of the probe: needed after `begin`, and after `largest`.
    void next_position();
    // Room for the evidence of some references; `add` takes it in. Both throw std::out_of_range where a subject's key
    // is not below the span; after `add` has, the evidence of the position is in part missing.
    template <class Key>
    float* room(const Owners<Key>& owners);
    template <class Key>
    void add(const Owners<Key>& owners);

    // Keys of the subjects with the most evidence, `count` of them or all that have any, ascending; of equal ones the
    // first. If `among` is not null, only of these, which ascend.
    std::vector<std::int64_t> largest(std::size_t count, const std::int64_t* among, std::size_t among_count);
    // The evidence of some subjects, -infinity where there is none. Needs `next_position` before more is added, as
    // `largest` does; throws std::out_of_range where a key is not below the span.
    void evidence_of(const std::int64_t* subjects, std::size_t count, float* evidence);

private:
    // Evidence of one position, or the sum of several, by subject; of subjects from `known` on nothing is known yet,
    // and nothing stands there.
    struct Column {
        std::vector<float> evidence;
        std::size_t known = 0;

        void know_up_to(std::size_t subject);
    };

    template <class Key>
    bool in_place(const Owners<Key>& owners) const;
    void check_below_span(std::size_t subject) const;
    Column& position() { return positions_ > 1 ? position_ : total_; }
    const Column& position() const { return positions_ > 1 ? position_ : total_; }
    void add_up();

    std::size_t span_ = 0;
    std::size_t positions_ = 0;  // that have begun
    bool is_open_ = false;       // a position is
    Column total_;               // of the positions that are complete, and the first
    Column position_;            // of the last, if it is not the first
    std::vector<float> references_;
};

}  // namespace abis
