// SPDX-License-Identifier: Apache-2.0
// Comparison of fingers: packed references, and what a single comparison is made of.
#include <limits>
#include <optional>

#include "fingerprint/explanation.h"
#include "fingerprint/kernels.h"
#include "fingerprint/references.h"
#include "python/arrays.h"
#include "python/guard.h"

namespace abis {
namespace {

using SharedReferences = Guarded<References>;
using X = Array<std::uint16_t>;
using Direction = Array<float>;

std::size_t append(SharedReferences& references, const X& x, const X& y, const Direction& direction, const Bytes& kind,
                   const Bytes& quality, const Indices& counts, const Array<std::int32_t>& resolutions,
                   unsigned threads) {
    Templates templates(x, y, direction, kind, quality);
    const auto& many = templates.many(counts, resolutions);
    const Changing changing(references);
    const py::gil_scoped_release release;
    return references.append(many, threads, SignalPoll());
}

void remove(SharedReferences& references, const Indices& slots) {
    const Changing changing(references);
    for (const std::int64_t slot : checked_indices(slots, references.size()))
        references.remove(static_cast<std::size_t>(slot));
}

py::array_t<float> compare_with(const SharedReferences& references, const X& x, const X& y, const Direction& direction,
                                const Bytes& kind, const Bytes& quality, int resolution_x, int resolution_y,
                                const std::optional<Indices>& slots, float cutoff, unsigned threads) {
    Templates templates(x, y, direction, kind, quality);
    const RawTemplate& probe = templates.one(resolution_x, resolution_y);
    const Reading reading(references);
    const auto which = slots ? checked_indices(*slots, references.size()) : std::vector<std::int64_t>{};
    const std::size_t count = slots ? which.size() : references.size();
    auto scores = array_of<float>(count);
    float* out = scores.mutable_data();
    const py::gil_scoped_release release;
    references.compare(probe, slots ? which.data() : nullptr, count, cutoff, threads, SignalPoll(), out);
    return scores;
}

py::array_t<float> compare_pairs(const SharedReferences& references, const Indices& probes, const Indices& others,
                                 unsigned threads) {
    const Reading reading(references);
    const auto first = checked_indices(probes, references.size()), second = checked_indices(others, references.size());
    check(first.size() == second.size(), "expected as many probes as references");
    auto scores = array_of<float>(first.size());
    float* out = scores.mutable_data();
    const py::gil_scoped_release release;
    references.compare_pairs(first.data(), second.data(), first.size(), threads, SignalPoll(), out);
    return scores;
}

py::array_t<std::int64_t> contents(const Bytes& quality, const Indices& counts) {
    check(quality.ndim() == 1 && counts.ndim() == 1, "quality and counts must be arrays of one dimension");
    const std::vector<std::int64_t> sizes = counts.copied();
    std::size_t left = quality.count();
    for (const std::int64_t size : sizes) {
        check(size >= 0 && static_cast<std::uint64_t>(size) <= left, "counts do not add up to the number of minutiae");
        left -= static_cast<std::size_t>(size);
    }
    check(left == 0, "counts do not add up to the number of minutiae");
    auto result = array_of<std::int64_t>(sizes.size());
    const std::uint8_t* own = quality.data();
    std::int64_t* found = result.mutable_data();
    const py::gil_scoped_release release;
    for (const std::int64_t size : sizes) {
        *found++ = content(own, static_cast<std::size_t>(size));
        own += size;
    }
    return result;
}

py::dict compare_in_detail(const X& x1, const X& y1, const Direction& direction1, const Bytes& kind1,
                           const Bytes& quality1, int resolution_x1, int resolution_y1, const X& x2, const X& y2,
                           const Direction& direction2, const Bytes& kind2, const Bytes& quality2, int resolution_x2,
                           int resolution_y2) {
    Templates probe(x1, y1, direction1, kind1, quality1), reference(x2, y2, direction2, kind2, quality2);
    const Explanation found =
        explain(probe.one(resolution_x1, resolution_y1), reference.one(resolution_x2, resolution_y2));
    py::dict terms;
    for (const auto& [name, member] : kEvidenceTerms) terms[name] = found.evidence.*member;
    py::array_t<std::uint8_t> pairs({static_cast<py::ssize_t>(found.pairs.size()), py::ssize_t{2}});
    for (std::size_t p = 0; p < found.pairs.size(); ++p) {
        pairs.mutable_at(static_cast<py::ssize_t>(p), 0) = found.pairs[p].probe;
        pairs.mutable_at(static_cast<py::ssize_t>(p), 1) = found.pairs[p].reference;
    }
    py::dict result;
    result["score"] = found.score;
    result["terms"] = terms;
    result["pairs"] = pairs;
    return result;
}

// What a template becomes; the minutiae stand in the prepared order, and order[k] is where the k-th came from.
py::dict prepare(const X& x, const X& y, const Direction& direction, const Bytes& kind, const Bytes& quality,
                 int resolution_x, int resolution_y) {
    std::vector<std::uint8_t> order;
    Templates templates(x, y, direction, kind, quality);
    const PreparedTemplate prepared(templates.one(resolution_x, resolution_y), &order);
    const PreparedView view = prepared.view();
    const auto n = static_cast<py::ssize_t>(view.size());
    py::array_t<std::uint64_t> words({n, static_cast<py::ssize_t>(kCylinderWords)});
    for (py::ssize_t i = 0; i < n; ++i) {
        for (std::size_t w = 0; w < kCylinderWords; ++w) {
            words.mutable_at(i, static_cast<py::ssize_t>(w)) =
                view.words()[w * view.stride() + static_cast<std::size_t>(i)];
        }
    }
    py::dict result;
    result["x"] = py::array_t<std::int16_t>(n, view.x());
    result["y"] = py::array_t<std::int16_t>(n, view.y());
    result["direction"] = py::array_t<std::uint8_t>(n, view.direction());
    result["kind"] = py::array_t<std::uint8_t>(n, view.kind());
    result["reliability"] = py::array_t<std::uint8_t>(n, view.reliability());
    result["cylinders"] = words;
    result["order"] = array_of(order);
    return result;
}

// The byte of every pair of minutiae, each side in its prepared order.
py::array_t<std::uint8_t> similarities(const X& x1, const X& y1, const Direction& direction1, const Bytes& kind1,
                                       const Bytes& quality1, int resolution_x1, int resolution_y1, const X& x2,
                                       const X& y2, const Direction& direction2, const Bytes& kind2,
                                       const Bytes& quality2, int resolution_x2, int resolution_y2) {
    Templates templates1(x1, y1, direction1, kind1, quality1), templates2(x2, y2, direction2, kind2, quality2);
    const PreparedTemplate probe(templates1.one(resolution_x1, resolution_y1));
    const PreparedTemplate reference(templates2.one(resolution_x2, resolution_y2));
    const std::size_t n = probe.view().size(), m = reference.view().size(), stride = reference.view().stride();
    std::vector<std::uint8_t> padded(n * stride);
    kernels().similarities(probe.view(), reference.view(), padded.data());
    py::array_t<std::uint8_t> result({static_cast<py::ssize_t>(n), static_cast<py::ssize_t>(m)});
    for (std::size_t i = 0; i < n; ++i) std::copy_n(padded.data() + i * stride, m, result.mutable_data() + i * m);
    return result;
}

}  // namespace

void bind_comparison(py::module_& module) {
    py::class_<SharedReferences>(module, "References")
        .def(py::init<>())
        .def("append", &append, "x"_a, "y"_a, "direction"_a, "kind"_a, "quality"_a, "counts"_a, "resolutions"_a,
             "threads"_a)
        .def("remove", &remove, "slots"_a)
        .def("compare", &compare_with, "x"_a, "y"_a, "direction"_a, "kind"_a, "quality"_a, "resolution_x"_a,
             "resolution_y"_a, "slots"_a, "cutoff"_a, "threads"_a)
        .def("compare_pairs", &compare_pairs, "probes"_a, "references"_a, "threads"_a)
        .def("__len__", [](const SharedReferences& references) { return Reading(references), references.size(); })
        .def_property_readonly("memory_bytes", [](const SharedReferences& references) {
            return Reading(references), references.memory_bytes();
        });
    module.def("contents", &contents, "quality"_a, "counts"_a);
    module.def("compare_in_detail", &compare_in_detail, "x1"_a, "y1"_a, "direction1"_a, "kind1"_a, "quality1"_a,
               "resolution_x1"_a, "resolution_y1"_a, "x2"_a, "y2"_a, "direction2"_a, "kind2"_a, "quality2"_a,
               "resolution_x2"_a, "resolution_y2"_a);
    module.def("prepare", &prepare, "x"_a, "y"_a, "direction"_a, "kind"_a, "quality"_a, "resolution_x"_a,
               "resolution_y"_a);
    module.def("similarities", &similarities, "x1"_a, "y1"_a, "direction1"_a, "kind1"_a, "quality1"_a,
               "resolution_x1"_a, "resolution_y1"_a, "x2"_a, "y2"_a, "direction2"_a, "kind2"_a, "quality2"_a,
               "resolution_x2"_a, "resolution_y2"_a);
}

}  // namespace abis
