// SPDX-License-Identifier: Apache-2.0
// The first stage of a search, added up by subject.
#include "search/tally.h"

#include <deque>
#include <optional>

#include "python/finger_index.h"

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

// A look of several probes at once. Tuples, because these keep what they hold alive.
template <class Key>
void screen_fingers(const py::tuple& tallies, const SharedFingerIndex& index, const py::tuple& probes,
                    const Array<Key>& subjects, bool is_run, const std::optional<Gone>& gone, unsigned threads) {
    check(tallies.size() == probes.size(), "expected a tally for each probe");
    std::deque<Changing> changing;
    std::vector<SharedTally*> own;
    std::vector<FingerIndex::Look> looks;
    for (std::size_t k = 0; k < tallies.size(); ++k) {
        own.push_back(&tallies[k].cast<SharedTally&>());
        looks.push_back({&probes[k].cast<const FingerProbe&>(), nullptr});
        changing.emplace_back(*own[k]);
    }
    const Reading reading(index);
    const Owners<Key> owners = owners_of(index.size(), subjects, is_run, gone);
    const py::gil_scoped_release release;
    for (std::size_t k = 0; k < own.size(); ++k) looks[k].evidence = own[k]->room(owners);
    index.screen(looks, threads, SignalPoll());
    for (SharedTally* tally : own) tally->add(owners);
}

template <class Key>
void add_evidence(SharedTally& tally, const Array<float>& evidence, const Array<Key>& subjects, bool is_run,
                  const std::optional<Gone>& gone) {
    check(evidence.ndim() == 1, "evidence must be an (n,) array");
    const Changing changing(tally);
    const Owners<Key> owners = owners_of(evidence.count(), subjects, is_run, gone);
    const float* from = evidence.data();
    const py::gil_scoped_release release;
    std::copy(from, from + owners.count, tally.room(owners));
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

py::array_t<float> evidence_of(SharedTally& tally, const Indices& subjects) {
    check(subjects.ndim() == 1, "subjects must be an (m,) array");
    auto evidence = array_of<float>(subjects.count());
    float* out = evidence.mutable_data();
    const Changing changing(tally);
    const py::gil_scoped_release release;
    tally.evidence_of(subjects.data(), subjects.count(), out);
    return evidence;
}

template <class Key>
void bind_keys(py::module_& module, py::class_<SharedTally>& tally) {
    tally.def("add_evidence", &add_evidence<Key>, "evidence"_a, "subjects"_a, "is_run"_a, "gone"_a);
    module.def("screen_fingers", &screen_fingers<Key>, "tallies"_a, "index"_a, "probes"_a, "subjects"_a, "is_run"_a,
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
        .def("largest", &largest, "count"_a, "among"_a)
        .def("evidence_of", &evidence_of, "subjects"_a);
    bind_keys<std::uint32_t>(module, tally);
    bind_keys<std::int64_t>(module, tally);
}

}  // namespace abis
