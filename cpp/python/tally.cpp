// SPDX-License-Identifier: Apache-2.0
// The first stage of a search, added up by subject.
#include "search/tally.h"

#include <deque>
#include <optional>

#include "python/finger_index.h"
#include "search/embedding_codes.h"

namespace abis {
namespace {

using SharedTally = Guarded<Tally>;
using Gone = Array<bool>;

template <class Key>
Owners<Key> owners_of(std::size_t references, const Array<Key>& subjects, bool is_run,
                      const std::optional<Gone>& gone) {
    check(subjects.ndim() == 1 && subjects.count() == references, "expected a subject for each reference");
    check(!gone || (gone->ndim() == 1 && gone->size() == subjects.size()), "gone must be as long as subjects");
    // A bool of NumPy may be any byte, which a bool of C++ may not.
    const void* bytes = gone ? gone->data() : nullptr;
    const auto first = is_run && references > 0 ? static_cast<std::size_t>(subjects.at(0)) : 0;
    return {first, is_run ? nullptr : subjects.data(), references, static_cast<const std::uint8_t*>(bytes)};
}

template <class Key>
void screen_fingers(const std::vector<SharedTally*>& tallies, const SharedFingerIndex& index,
                    const std::vector<const FingerProbe*>& probes, const Array<Key>& subjects, bool is_run,
                    const std::optional<Gone>& gone, unsigned threads) {
    check(tallies.size() == probes.size(), "expected a tally for each probe");
    std::deque<Changing> changing;
    for (std::size_t k = 0; k < tallies.size(); ++k) {
        check(tallies[k] != nullptr && probes[k] != nullptr, "tallies and probes must not be None");
        changing.emplace_back(*tallies[k]);
    }
    const Reading reading(index);
    const Owners<Key> owners = owners_of(index.size(), subjects, is_run, gone);
    const py::gil_scoped_release release;
    std::vector<FingerIndex::Look> looks;
    for (std::size_t k = 0; k < tallies.size(); ++k) looks.push_back({probes[k], tallies[k]->room(owners)});
    index.screen(looks, threads, SignalPoll());
    for (SharedTally* tally : tallies) tally->add(owners);
}

template <class Key>
void screen_embeddings(SharedTally& tally, const Bytes& codes, const Bytes& corners, const Array<float>& by_sum,
                       const Array<Key>& subjects, bool is_run, const std::optional<Gone>& gone, unsigned threads) {
    check(
        codes.ndim() == 3 && codes.shape(1) > 0 && codes.shape(1) % kCodeStep == 0 && codes.shape(2) == kCodesTogether,
        "codes must be (ceil(n / 16), b, 16), b a multiple of 32");
    const std::size_t count = subjects.count(), length = codes.extent(1);
    check(codes.extent(0) == (count + kCodesTogether - 1) / kCodesTogether, "expected a code for each subject");
    check(corners.ndim() == 3 && corners.shape(0) == 2 && corners.shape(1) == codes.shape(1) &&
              corners.shape(2) == kCorners,
          "corners must be (2, b, 16)");
    const std::vector<std::uint8_t> own = corners.copied();
    check(std::all_of(own.begin(), own.end(), [](auto c) { return c <= kMostOfCorner; }),
          "corners must be 127 or less");
    check(by_sum.ndim() == 1 && by_sum.count() == 2 * length * kMostOfCorner + 1, "expected a value for each sum");
    const Changing changing(tally);
    const EmbeddingCodesView view{codes.data(), count, length};
    const Owners<Key> owners = owners_of(count, subjects, is_run, gone);
    const float* values = by_sum.data();
    const py::gil_scoped_release release;
    evidence_of_embedding_codes(own.data(), view, values, threads, SignalPoll(), tally.room(owners));
    tally.add(owners);
}

py::array_t<std::int64_t> largest(SharedTally& tally, std::size_t count, const std::optional<Indices>& among) {
    check(!among || among->ndim() == 1, "among must be an (m,) array");
    std::vector<std::int64_t> subjects;
    {
        const Changing changing(tally);
        const std::int64_t* only = among ? among->data() : nullptr;
        const std::size_t size = among ? among->count() : 0;
        const py::gil_scoped_release release;
        subjects = tally.largest(count, only, size);
    }
    return array_of(subjects);
}

template <class Key>
void bind_keys(py::class_<SharedTally>& tally) {
    tally
        .def("screen_embeddings", &screen_embeddings<Key>, "codes"_a, "corners"_a, "by_sum"_a, "subjects"_a, "is_run"_a,
             "gone"_a, "threads"_a);
}

}  // namespace

void bind_tally(py::module_& module) {
    py::class_<SharedTally> tally(module, "Tally");
    tally.def(py::init<>())
        .def(
            "begin", [](SharedTally& own, std::size_t span) { return Changing(own), own.begin(span); }, "span"_a,
            py::call_guard<py::gil_scoped_release>())
        .def(
            "next_position", [](SharedTally& own) { return Changing(own), own.next_position(); },
            py::call_guard<py::gil_scoped_release>())
        .def("largest", &largest, "count"_a, "among"_a);
    bind_keys<std::uint32_t>(tally);
    bind_keys<std::int64_t>(tally);
}

}  // namespace abis
