// SPDX-License-Identifier: Apache-2.0
// Embeddings: rotation and dot products of float16 vectors.
#include <bit>
#include <optional>

#include "core/parallel.h"
#include "fingerprint/kernels.h"
#include "python/arrays.h"

namespace abis {
namespace {

using Halves = Array<std::uint16_t>;  // float16 vectors, by their bits

constexpr std::size_t kLeastComponents = 512;  // of a rotated vector
constexpr std::size_t kDotBlock = 4096;        // rows or pairs a thread takes at a time: about a millisecond

void check_signs(const Halves& vectors, const Array<float>& signs) {
    check(vectors.ndim() == 2 && signs.ndim() == 2 && signs.shape(0) == 2, "expected (n, d) vectors and (2, b) signs");
    const std::size_t n = signs.extent(1);
    check(std::has_single_bit(n) && n >= kLeastComponents && vectors.shape(1) <= signs.shape(1),
          "expected signs for a power of two of components, 512 or more, no fewer than vectors have");
}

py::array_t<float> rotate_vectors(const Halves& vectors, const Array<float>& signs) {
    check_signs(vectors, signs);
    const std::size_t count = vectors.extent(0), d = vectors.extent(1), n = signs.extent(1);
    py::array_t<float> turned({vectors.shape(0), signs.shape(1)});
    const std::uint16_t* from = vectors.data();
    const float* own = signs.data();
    float* to = turned.mutable_data();
    const py::gil_scoped_release release;
    for (std::size_t k = 0; k < count; ++k) kernels().rotate(from + k * d, d, own, n, to + k * n);
    return turned;
}

py::array_t<float> dot_products(const Halves& probe, const Halves& rows, const std::optional<Indices>& which,
                                unsigned threads) {
    check(probe.ndim() == 1 && rows.ndim() == 2 && rows.shape(1) == probe.size(),
          "expected a (d,) probe and (n, d) rows");
    const std::size_t d = probe.count();
    const auto chosen = which ? checked_indices(*which, rows.extent(0)) : std::vector<std::int64_t>{};
    const std::size_t count = which ? chosen.size() : rows.extent(0);
    auto scores = array_of<float>(count);
    const std::int64_t* some = which ? chosen.data() : nullptr;
    const std::uint16_t *p = probe.data(), *r = rows.data();
    float* out = scores.mutable_data();
    const py::gil_scoped_release release;
    for_blocks(
        count, kDotBlock, threads,
        [&](std::size_t begin, std::size_t end, unsigned) {
            const std::uint16_t* from = some ? r : r + begin * d;
            kernels().dot_products(p, from, d, some ? some + begin : nullptr, end - begin, d, out + begin);
        },
        SignalPoll());
    return scores;
}

py::array_t<float> dot_products_of_pairs(const Halves& first, const Halves& second, const Indices& first_rows,
                                         const Indices& second_rows, unsigned threads) {
    check(first.ndim() == 2 && second.ndim() == 2 && first.shape(1) == second.shape(1),
          "expected (n, d) and (m, d) arrays");
    const auto own = checked_indices(first_rows, first.extent(0));
    const auto other = checked_indices(second_rows, second.extent(0));
    check(own.size() == other.size(), "expected as many rows of both");
    const std::size_t d = first.extent(1);
    auto scores = array_of<float>(own.size());
    const std::uint16_t *a = first.data(), *b = second.data();
    float* out = scores.mutable_data();
    const py::gil_scoped_release release;
    for_blocks(
        own.size(), kDotBlock, threads,
        [&](std::size_t begin, std::size_t end, unsigned) {
            for (std::size_t k = begin; k < end; ++k)
                kernels().dot_products(a + static_cast<std::size_t>(own[k]) * d, b, d, &other[k], 1, d, out + k);
        },
        SignalPoll());
    return scores;
}

}  // namespace

void bind_embeddings(py::module_& module) {
    module.def("rotate", &rotate_vectors, "vectors"_a, "signs"_a);
    module.def("dot_products", &dot_products, "probe"_a, "rows"_a, "which"_a, "threads"_a);
    module.def("dot_products_of_pairs", &dot_products_of_pairs, "first"_a, "second"_a, "first_rows"_a, "second_rows"_a,
               "threads"_a);
}

}  // namespace abis
