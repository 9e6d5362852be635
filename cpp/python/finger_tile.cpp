// SPDX-License-Identifier: Apache-2.0
// Fingers to be compared many with many.
#include "search/finger_tile.h"

#include <memory>

#include "python/arrays.h"
#include "python/finger_index.h"

namespace abis {
namespace {

std::unique_ptr<FingerTile> tile_of(const Bytes& sizes, const Bytes& removed, const Array<std::uint64_t>& first,
                                    const Array<std::uint64_t>& second, const Array<std::int16_t>& x,
                                    const Array<std::int16_t>& y, const Bytes& direction, const Bytes& kind,
                                    const Bytes& reliability, unsigned threads) {
    const Columns columns(sizes, removed, first, second, x, y, direction, kind, reliability);
    const py::gil_scoped_release release;
    return std::make_unique<FingerTile>(columns.view(), columns.slots(), threads, SignalPoll());
}

py::tuple near(const FingerTile& tile, const FingerTile& probes, std::size_t begin, const Indices& limits, float least,
               unsigned threads) {
    check(limits.ndim() == 1 && begin <= probes.size() && limits.count() <= probes.size() - begin,
          "limits must be an (m,) array, of as many probes");
    const std::vector<std::int64_t> beyond = limits.copied();
    for (const std::int64_t limit : beyond)
        check(limit >= 0 && limit <= static_cast<std::int64_t>(tile.size()),
              "limits must be 0 to the number of fingers");
    std::vector<FingerPair> pairs;
    {
        const py::gil_scoped_release release;
        pairs = tile.near(probes, begin, begin + beyond.size(), beyond.data(), least, threads, SignalPoll());
    }
    auto probe = array_of<std::int64_t>(pairs.size()), reference = array_of<std::int64_t>(pairs.size());
    auto evidence = array_of<float>(pairs.size());
    for (std::size_t k = 0; k < pairs.size(); ++k) {
        probe.mutable_data()[k] = pairs[k].probe;
        reference.mutable_data()[k] = pairs[k].reference;
        evidence.mutable_data()[k] = pairs[k].evidence;
    }
    return py::make_tuple(probe, reference, evidence);
}

// FingerTile::refine or FingerTile::compare.
template <auto method>
py::array_t<float> of_pairs(const FingerTile& tile, const FingerTile& probes, const Indices& probe,
                            const Indices& reference, unsigned threads) {
    const auto first = checked_indices(probe, probes.size()), second = checked_indices(reference, tile.size());
    check(first.size() == second.size(), "probe and reference must be arrays of one length");
    auto result = array_of<float>(first.size());
    float* out = result.mutable_data();
    const py::gil_scoped_release release;
    (tile.*method)(probes, first.data(), second.data(), first.size(), threads, SignalPoll(), out);
    return result;
}

}  // namespace

void bind_finger_tile(py::module_& module) {
    py::class_<FingerTile>(module, "FingerTile")
        .def(py::init(&tile_of), "sizes"_a, "removed"_a, "first"_a, "second"_a, "x"_a, "y"_a, "direction"_a, "kind"_a,
             "reliability"_a, "threads"_a)
        .def("near", &near, "probes"_a, "begin"_a, "limits"_a, "least"_a, "threads"_a)
        .def("refine", &of_pairs<&FingerTile::refine>, "probes"_a, "probe"_a, "reference"_a, "threads"_a)
        .def("compare", &of_pairs<&FingerTile::compare>, "probes"_a, "probe"_a, "reference"_a, "threads"_a)
        .def("__len__", &FingerTile::size)
        .def_property_readonly("memory_bytes", [](const FingerTile& tile) {
            const py::gil_scoped_release release;  // near may have the lock, and wait for the GIL
            return tile.memory_bytes();
        });
}

}  // namespace abis
