// SPDX-License-Identifier: Apache-2.0
// Fingers to be searched, and the probe of a search.
#include "python/finger_index.h"

#include <memory>
#include <numeric>

namespace abis {

Columns::Columns(const Bytes& sizes, const Bytes& removed, const Array<std::uint64_t>& first,
                 const Array<std::uint64_t>& second, const Array<std::int16_t>& x, const Array<std::int16_t>& y,
                 const Bytes& direction, const Bytes& kind, const Bytes& reliability)
    : sizes_(sizes.copied()), removed_(removed.copied()) {
    check(sizes.ndim() == 1 && removed.ndim() == 1 && removed.size() == sizes.size(),
          "sizes and removed must be arrays of one length");
    const py::ssize_t n = first.size();
    check(first.ndim() == 1 && second.ndim() == 1 && x.ndim() == 1 && y.ndim() == 1 && direction.ndim() == 1 &&
              kind.ndim() == 1 && reliability.ndim() == 1 && second.size() == n && x.size() == n && y.size() == n &&
              direction.size() == n && kind.size() == n && reliability.size() == n,
          "the columns of minutiae must be arrays of one length");
    check(std::accumulate(sizes_.begin(), sizes_.end(), py::ssize_t{0}) == n,
          "sizes must add up to the number of minutiae");
    check(std::all_of(removed_.begin(), removed_.end(), [](std::uint8_t v) { return v <= 1; }),
          "removed must be 0 or 1");
    view_ = {sizes_.data(), removed_.data(),  first.data(), second.data(),     x.data(),
             y.data(),      direction.data(), kind.data(),  reliability.data()};
}

namespace {

using X = Array<std::uint16_t>;
using Direction = Array<float>;

std::unique_ptr<FingerProbe> finger_probe(const X& x, const X& y, const Direction& direction, const Bytes& kind,
                                          const Bytes& quality, int resolution_x, int resolution_y) {
    Templates templates(x, y, direction, kind, quality);
    const RawTemplate& raw = templates.one(resolution_x, resolution_y);
    const py::gil_scoped_release release;
    return std::make_unique<FingerProbe>(raw);
}

std::size_t append(SharedFingerIndex& index, const X& x, const X& y, const Direction& direction, const Bytes& kind,
                   const Bytes& quality, const Indices& counts, const Array<std::int32_t>& resolutions,
                   unsigned threads) {
    Templates templates(x, y, direction, kind, quality);
    const auto& many = templates.many(counts, resolutions);
    const Changing changing(index);
    const py::gil_scoped_release release;
    return index.append(many, threads, SignalPoll());
}

void remove(SharedFingerIndex& index, const Indices& slots) {
    const Changing changing(index);
    for (const std::int64_t slot : checked_indices(slots, index.size())) index.remove(static_cast<std::size_t>(slot));
}

py::array_t<float> screen(const SharedFingerIndex& index, const FingerProbe& probe, unsigned threads) {
    const Reading reading(index);
    auto evidence = array_of<float>(index.size());
    float* out = evidence.mutable_data();
    const py::gil_scoped_release release;
    const FingerIndex::Look look{&probe, out};
    index.screen({&look, 1}, threads, SignalPoll());
    return evidence;
}

// FingerIndex::sift, FingerIndex::refine or FingerIndex::compare.
template <auto method>
py::array_t<float> of_slots(const SharedFingerIndex& index, const FingerProbe& probe, const Indices& slots,
                            unsigned threads) {
    const Reading reading(index);
    const auto which = checked_indices(slots, index.size());
    auto result = array_of<float>(which.size());
    float* out = result.mutable_data();
    const FingerIndex& own = index;
    const py::gil_scoped_release release;
    (own.*method)(probe, which.data(), which.size(), threads, SignalPoll(), out);
    return result;
}

py::array_t<std::int64_t> contents_of_slots(const SharedFingerIndex& index, const Indices& slots) {
    const Reading reading(index);
    std::vector<std::int64_t> which = checked_indices(slots, index.size());
    for (std::int64_t& slot : which) slot = index.content(static_cast<std::size_t>(slot));
    return array_of(which);
}

py::dict columns_of(const SharedFingerIndex& index) {
    const Reading reading(index);
    const std::size_t slots = index.size(), n = index.minutiae();
    auto sizes = array_of<std::uint8_t>(slots), removed = array_of<std::uint8_t>(slots);
    auto first = array_of<std::uint64_t>(n), second = array_of<std::uint64_t>(n);
    auto x = array_of<std::int16_t>(n), y = array_of<std::int16_t>(n);
    auto direction = array_of<std::uint8_t>(n), kind = array_of<std::uint8_t>(n),
         reliability = array_of<std::uint8_t>(n);
    const MutableIndexColumns out{sizes.mutable_data(),     removed.mutable_data(), first.mutable_data(),
                                  second.mutable_data(),    x.mutable_data(),       y.mutable_data(),
                                  direction.mutable_data(), kind.mutable_data(),    reliability.mutable_data()};
    {
        const py::gil_scoped_release release;
        index.write(out);
    }
    return py::dict("sizes"_a = sizes, "removed"_a = removed, "first"_a = first, "second"_a = second, "x"_a = x,
                    "y"_a = y, "direction"_a = direction, "kind"_a = kind, "reliability"_a = reliability);
}

std::unique_ptr<SharedFingerIndex> from_columns(const Bytes& sizes, const Bytes& removed,
                                                const Array<std::uint64_t>& first, const Array<std::uint64_t>& second,
                                                const Array<std::int16_t>& x, const Array<std::int16_t>& y,
                                                const Bytes& direction, const Bytes& kind, const Bytes& reliability) {
    const Columns columns(sizes, removed, first, second, x, y, direction, kind, reliability);
    auto index = std::make_unique<SharedFingerIndex>();
    const py::gil_scoped_release release;
    index->append(columns.view(), columns.slots());
    return index;
}

}  // namespace

void bind_finger_index(py::module_& module) {
    py::class_<FingerProbe>(module, "FingerProbe")
        .def(py::init(&finger_probe), "x"_a, "y"_a, "direction"_a, "kind"_a, "quality"_a, "resolution_x"_a,
             "resolution_y"_a);
    py::class_<SharedFingerIndex>(module, "FingerIndex")
        .def(py::init<>())
        .def("append", &append, "x"_a, "y"_a, "direction"_a, "kind"_a, "quality"_a, "counts"_a, "resolutions"_a,
             "threads"_a)
        .def("remove", &remove, "slots"_a)
        .def("screen", &screen, "probe"_a, "threads"_a)
        .def("sift", &of_slots<&FingerIndex::sift>, "probe"_a, "slots"_a, "threads"_a)
        .def("refine", &of_slots<&FingerIndex::refine>, "probe"_a, "slots"_a, "threads"_a)
        .def("compare", &of_slots<&FingerIndex::compare>, "probe"_a, "slots"_a, "threads"_a)
        .def("contents", &contents_of_slots, "slots"_a)
        .def("columns", &columns_of)
        .def_static("from_columns", &from_columns, "sizes"_a, "removed"_a, "first"_a, "second"_a, "x"_a, "y"_a,
                    "direction"_a, "kind"_a, "reliability"_a)
        .def("__len__", [](const SharedFingerIndex& index) { return Reading(index), index.size(); })
        .def_property_readonly("memory_bytes",
                               [](const SharedFingerIndex& index) { return Reading(index), index.memory_bytes(); });
}

}  // namespace abis
