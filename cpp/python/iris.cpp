// SPDX-License-Identifier: Apache-2.0
// Comparison of iris codes.
#include "iris/iris.h"

#include <optional>

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

}  // namespace

void bind_iris(py::module_& module) {
    module.def("iris_scores", &iris_scores, "bits"_a, "mask"_a, "reach"_a, "references"_a, "rows"_a, "threads"_a);
}

}  // namespace abis
