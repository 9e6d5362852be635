// SPDX-License-Identifier: Apache-2.0
// Comparison of iris codes.
#include "iris/iris.h"

#include <optional>

#include "iris/iris_look.h"
#include "python/arrays.h"

namespace abis {
namespace {

py::array_t<float> iris_scores(const Bytes& bits, const Bytes& mask, std::size_t reach, const Bytes& references,
                               const std::optional<Indices>& rows, unsigned threads) {
    check(bits.ndim() == 2 && mask.ndim() == 2 && bits.shape(0) == mask.shape(0) && bits.shape(1) == mask.shape(1) &&
              bits.size() > 0,
          "bits and mask must be arrays of one shape, (columns, bytes a column)");
    check(reach < bits.extent(0), "expected fewer rotations to a side than there are columns");
    const std::size_t bytes = bits.count(), stride = (bytes + kIrisBlock - 1) / kIrisBlock * kIrisBlock;
    check(references.ndim() == 3 && references.shape(1) == 2 && references.extent(2) == stride,
          "references must be (n, 2, bytes of a code rounded up to a multiple of 64)");
    const auto chosen = rows ? checked_indices(*rows, references.extent(0)) : std::vector<std::int64_t>{};
    const std::size_t count = rows ? chosen.size() : references.extent(0);
    auto scores = array_of<float>(count);
    const IrisProbe probe(bits.data(), mask.data(), bytes, bits.extent(1), reach);
    const std::uint8_t* all = references.data();
    const std::int64_t* which = rows ? chosen.data() : nullptr;
    float* out = scores.mutable_data();
    const py::gil_scoped_release release;
    probe.compare(all, stride, which, count, threads, SignalPoll(), out);
    return scores;
}

py::tuple look_at_irises(const Words& probe, std::size_t coarse, const Words& blocks, std::size_t count,
                         std::size_t most) {
    check(probe.ndim() == 3 && probe.shape(1) == 2 && probe.size() > 0, "probe must be (rotations, 2, words)");
    check(blocks.ndim() == 4 && blocks.shape(1) == 2 && blocks.shape(2) == probe.shape(2) &&
              blocks.extent(3) == kIrisLanes && count <= blocks.extent(0) * kIrisLanes,
          "blocks must be (n, 2, words, 8) and hold as many references as are counted");
    check(coarse > 0 && coarse <= probe.extent(0), "expected one or more coarse rotations, and no more than there are");
    check(most > 0, "expected to ask for one or more");
    const std::vector<std::uint64_t> own = probe.copied();
    const std::size_t rotations = probe.extent(0), words = probe.extent(2);
    const std::uint64_t* all = blocks.data();
    NearIrises found;
    {
        const py::gil_scoped_release release;
        found = nearest_irises(own.data(), coarse, rotations, words, all, count, most, SignalPoll());
    }
    return py::make_tuple(array_of(found.scores), array_of(found.slots));
}

}  // namespace

void bind_iris(py::module_& module) {
    module.def("iris_scores", &iris_scores, "bits"_a, "mask"_a, "reach"_a, "references"_a, "rows"_a, "threads"_a);
    module.def("nearest_irises", &look_at_irises, "probe"_a, "coarse"_a, "blocks"_a, "count"_a, "most"_a);
}

}  // namespace abis
