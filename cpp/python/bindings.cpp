// SPDX-License-Identifier: Apache-2.0
// Python's door to the core: each binding unpacks, checks shapes, releases the GIL and calls. No logic here.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/parallel.h"
#include "core/simd.h"
#include "fingerprint/explanation.h"
#include "fingerprint/kernels.h"
#include "fingerprint/references.h"
#include "search/finger_index.h"
#include "search/finger_tile.h"
#include "search/tally.h"

namespace py = pybind11;

namespace abis {
namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style>;

void check(bool good, const char* what) {
    if (!good) throw std::invalid_argument(what);
}

using X = Array<std::uint16_t>;
using Direction = Array<float>;
using Code = Array<std::uint8_t>;
using Slots = Array<std::int64_t>;

// The minutiae of several templates, one after the other.
struct Columns {
    const X &x, &y;
    const Direction& direction;
    const Code &kind, &quality;

    py::ssize_t size() const {
        const py::ssize_t n = x.size();
        check(x.ndim() == 1 && y.ndim() == 1 && direction.ndim() == 1 && kind.ndim() == 1 && quality.ndim() == 1 &&
                  y.size() == n && direction.size() == n && kind.size() == n && quality.size() == n,
              "x, y, direction, kind and quality must be arrays of one length");
        return n;
    }
    RawTemplate slice(py::ssize_t begin, py::ssize_t n, int resolution_x, int resolution_y) const {
        check(n >= 0 && n <= static_cast<py::ssize_t>(parameters::kMaxMinutiae), "a template holds 0 to 255 minutiae");
        check(resolution_x > 0 && resolution_y > 0, "resolution must be positive");
        return {static_cast<std::size_t>(n), x.data() + begin,       y.data() + begin, direction.data() + begin,
                kind.data() + begin,         quality.data() + begin, resolution_x,     resolution_y};
    }
};

RawTemplate one_template(const X& x, const X& y, const Direction& direction, const Code& kind, const Code& quality,
                         int resolution_x, int resolution_y) {
    const Columns columns{x, y, direction, kind, quality};
    return columns.slice(0, columns.size(), resolution_x, resolution_y);
}

void check_slots(const Slots& slots, std::size_t size) {
    check(slots.ndim() == 1, "slots must be an (m,) array");
    for (py::ssize_t k = 0; k < slots.size(); ++k) {
        if (slots.data()[k] < 0 || slots.data()[k] >= static_cast<std::int64_t>(size)) {
            throw py::index_error("slot " + std::to_string(slots.data()[k]) + " of " + std::to_string(size));
        }
    }
}

// Looks for Ctrl-C now and then; called without the GIL from the thread that came from Python.
class SignalPoll {
public:
    void operator()() {
        const auto now = std::chrono::steady_clock::now();
        if (now - last_ < std::chrono::milliseconds(50)) return;
        last_ = now;
        const py::gil_scoped_acquire hold;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    }

private:
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

std::vector<RawTemplate> many_templates(const Columns& columns, const Array<std::int64_t>& counts,
                                        const Array<std::int32_t>& resolutions) {
    const py::ssize_t n = columns.size();
    check(counts.ndim() == 1, "counts must be a (t,) array");
    check(resolutions.ndim() == 2 && resolutions.shape(0) == counts.size() && resolutions.shape(1) == 2,
          "resolutions must be a (t, 2) array");
    std::vector<RawTemplate> templates;
    py::ssize_t begin = 0;
    for (py::ssize_t t = 0; t < counts.size(); ++t) {
        const auto count = static_cast<py::ssize_t>(counts.data()[t]);
        templates.push_back(columns.slice(begin, count, resolutions.at(t, 0), resolutions.at(t, 1)));
        begin += count;
        check(begin <= n, "counts add up to more minutiae than there are");
    }
    check(begin == n, "counts add up to fewer minutiae than there are");
    return templates;
}

// Of packed references or of an index.
template <class Many>
std::size_t append(Many& many, const X& x, const X& y, const Direction& direction, const Code& kind,
                   const Code& quality, const Array<std::int64_t>& counts, const Array<std::int32_t>& resolutions,
                   unsigned threads) {
    const auto templates = many_templates({x, y, direction, kind, quality}, counts, resolutions);
    const py::gil_scoped_release release;
    return many.append(templates, threads, SignalPoll());
}

template <class Many>
void remove(Many& many, const Slots& slots) {
    check_slots(slots, many.size());
    for (py::ssize_t k = 0; k < slots.size(); ++k) many.remove(static_cast<std::size_t>(slots.data()[k]));
}

py::array_t<float> compare_with(const References& references, const X& x, const X& y, const Direction& direction,
                                const Code& kind, const Code& quality, int resolution_x, int resolution_y,
                                const std::optional<Slots>& slots, float cutoff, unsigned threads) {
    const RawTemplate probe = one_template(x, y, direction, kind, quality, resolution_x, resolution_y);
    if (slots) check_slots(*slots, references.size());
    const auto count = slots ? static_cast<std::size_t>(slots->size()) : references.size();
    py::array_t<float> scores(static_cast<py::ssize_t>(count));
    const std::int64_t* which = slots ? slots->data() : nullptr;
    float* out = scores.mutable_data();
    const py::gil_scoped_release release;
    references.compare(probe, which, count, cutoff, threads, SignalPoll(), out);
    return scores;
}

py::array_t<float> compare_pairs(const References& references, const Slots& first, const Slots& second,
                                 unsigned threads) {
    check_slots(first, references.size());
    check_slots(second, references.size());
    check(first.size() == second.size(), "expected as many probes as references");
    py::array_t<float> scores(first.size());
    const auto count = static_cast<std::size_t>(first.size());
    float* out = scores.mutable_data();
    const py::gil_scoped_release release;
    references.compare_pairs(first.data(), second.data(), count, threads, SignalPoll(), out);
    return scores;
}

FingerProbe finger_probe(const X& x, const X& y, const Direction& direction, const Code& kind, const Code& quality,
                         int resolution_x, int resolution_y) {
    const RawTemplate raw = one_template(x, y, direction, kind, quality, resolution_x, resolution_y);
    const py::gil_scoped_release release;
    return FingerProbe(raw);
}

py::array_t<float> screen(const FingerIndex& index, const FingerProbe& probe, unsigned threads) {
    py::array_t<float> evidence(static_cast<py::ssize_t>(index.size()));
    float* out = evidence.mutable_data();
    const py::gil_scoped_release release;
    index.screen(probe, threads, SignalPoll(), out);
    return evidence;
}

using Gone = Array<bool>;

void check_signs(const Array<std::uint16_t>& vectors, const Array<float>& signs) {
    check(vectors.ndim() == 2 && signs.ndim() == 2 && signs.shape(0) == 2, "expected (n, d) vectors and (2, b) signs");
    const auto n = static_cast<std::size_t>(signs.shape(1));
    check(std::has_single_bit(n) && n >= 512 && vectors.shape(1) <= signs.shape(1),
          "expected signs for a power of two of components, 512 or more, no fewer than vectors have");
}

py::array_t<float> rotate_vectors(const Array<std::uint16_t>& vectors, const Array<float>& signs) {
    check_signs(vectors, signs);
    const auto d = static_cast<std::size_t>(vectors.shape(1)), n = static_cast<std::size_t>(signs.shape(1));
    py::array_t<float> turned({vectors.shape(0), signs.shape(1)});
    const std::uint16_t* from = vectors.data();
    const float* own = signs.data();
    float* to = turned.mutable_data();
    const auto count = static_cast<std::size_t>(vectors.shape(0));
    const py::gil_scoped_release release;
    for (std::size_t k = 0; k < count; ++k) kernels().rotate(from + k * d, d, own, n, to + k * n);
    return turned;
}

template <class Key>
Owners<Key> owners_of(std::size_t references, const Array<Key>& subjects, bool is_run,
                      const std::optional<Gone>& gone) {
    const auto count = static_cast<std::size_t>(subjects.size());
    check(subjects.ndim() == 1 && count == references, "expected a subject for each reference");
    check(!gone || (gone->ndim() == 1 && gone->size() == subjects.size()), "gone must be as long as subjects");
    return {subjects.data(), count, is_run, gone ? gone->data() : nullptr};
}

template <class Key>
void tally_fingers(Tally& tally, const FingerIndex& index, const FingerProbe& probe, const Array<Key>& subjects,
                   bool is_run, const std::optional<Gone>& gone, unsigned threads) {
    const Owners<Key> owners = owners_of(index.size(), subjects, is_run, gone);
    const py::gil_scoped_release release;
    index.screen(probe, threads, SignalPoll(), tally.room(owners));
    tally.add(owners);
}

template <class Key>
void tally_evidence(Tally& tally, const Array<float>& evidence, const Array<Key>& subjects, bool is_run,
                    const std::optional<Gone>& gone) {
    check(evidence.ndim() == 1, "evidence must be an (n,) array");
    const Owners<Key> owners = owners_of(static_cast<std::size_t>(evidence.size()), subjects, is_run, gone);
    const float* from = evidence.data();
    const py::gil_scoped_release release;
    std::copy(from, from + owners.count, tally.room(owners));
    tally.add(owners);
}

py::array_t<std::int64_t> largest(Tally& tally, std::size_t count, const std::optional<Slots>& among) {
    check(!among || among->ndim() == 1, "among must be an (m,) array");
    std::vector<std::int64_t> subjects;
    {
        const std::int64_t* only = among ? among->data() : nullptr;
        const auto size = among ? static_cast<std::size_t>(among->size()) : 0;
        const py::gil_scoped_release release;
        subjects = tally.largest(count, only, size);
    }
    return py::array_t<std::int64_t>(static_cast<py::ssize_t>(subjects.size()), subjects.data());
}

// FingerIndex::sift, FingerIndex::refine or FingerIndex::compare.
template <auto method>
py::array_t<float> of_slots(const FingerIndex& index, const FingerProbe& probe, const Slots& slots, unsigned threads) {
    check_slots(slots, index.size());
    const auto count = static_cast<std::size_t>(slots.size());
    py::array_t<float> result(slots.size());
    const std::int64_t* which = slots.data();
    float* out = result.mutable_data();
    const py::gil_scoped_release release;
    (index.*method)(probe, which, count, threads, SignalPoll(), out);
    return result;
}

py::array_t<std::int64_t> contents_of_slots(const FingerIndex& index, const Slots& slots) {
    check_slots(slots, index.size());
    py::array_t<std::int64_t> result(slots.size());
    std::transform(slots.data(), slots.data() + slots.size(), result.mutable_data(),
                   [&](std::int64_t slot) { return index.content(static_cast<std::size_t>(slot)); });
    return result;
}

py::array_t<std::int64_t> contents(const Code& quality, const Array<std::int64_t>& counts) {
    check(quality.ndim() == 1 && counts.ndim() == 1, "quality and counts must be arrays of one dimension");
    py::ssize_t left = quality.size();
    for (py::ssize_t t = 0; t < counts.size(); ++t) {
        const std::int64_t count = counts.data()[t];
        check(count >= 0 && count <= left, "counts do not add up to the number of minutiae");
        left -= count;
    }
    check(left == 0, "counts do not add up to the number of minutiae");
    py::array_t<std::int64_t> result(counts.size());
    const std::uint8_t* own = quality.data();
    const std::int64_t *count = counts.data(), *end = count + counts.size();
    std::int64_t* found = result.mutable_data();
    const py::gil_scoped_release release;
    for (; count != end; own += *count++) *found++ = content(own, static_cast<std::size_t>(*count));
    return result;
}

py::dict index_columns(const FingerIndex& index) {
    const auto slots = static_cast<py::ssize_t>(index.size()), n = static_cast<py::ssize_t>(index.minutiae());
    py::array_t<std::uint8_t> sizes(slots), removed(slots), direction(n), kind(n), reliability(n);
    py::array_t<std::uint64_t> first(n), second(n);
    py::array_t<std::int16_t> x(n), y(n);
    index.write({sizes.mutable_data(), removed.mutable_data(), first.mutable_data(), second.mutable_data(),
                 x.mutable_data(), y.mutable_data(), direction.mutable_data(), kind.mutable_data(),
                 reliability.mutable_data()});
    py::dict columns;
    columns["sizes"] = sizes;
    columns["removed"] = removed;
    columns["first"] = first;
    columns["second"] = second;
    columns["x"] = x;
    columns["y"] = y;
    columns["direction"] = direction;
    columns["kind"] = kind;
    columns["reliability"] = reliability;
    return columns;
}

// Checks all that the index relies on.
IndexColumns checked_columns(const Code& sizes, const Code& removed, const Array<std::uint64_t>& first,
                             const Array<std::uint64_t>& second, const Array<std::int16_t>& x,
                             const Array<std::int16_t>& y, const Code& direction, const Code& kind,
                             const Code& reliability) {
    check(sizes.ndim() == 1 && removed.ndim() == 1 && removed.size() == sizes.size(),
          "sizes and removed must be arrays of one length");
    const py::ssize_t n = first.size();
    check(first.ndim() == 1 && second.ndim() == 1 && x.ndim() == 1 && y.ndim() == 1 && direction.ndim() == 1 &&
              kind.ndim() == 1 && reliability.ndim() == 1 && second.size() == n && x.size() == n && y.size() == n &&
              direction.size() == n && kind.size() == n && reliability.size() == n,
          "the columns of minutiae must be arrays of one length");
    const auto all = [](const auto& column, auto good) {
        return std::all_of(column.data(), column.data() + column.size(), good);
    };
    check(std::accumulate(sizes.data(), sizes.data() + sizes.size(), py::ssize_t{0}) == n,
          "sizes must add up to the number of minutiae");
    check(all(removed, [](std::uint8_t v) { return v <= 1; }), "removed must be 0 or 1");
    const std::int16_t* row = x.data();
    check(all(sizes,
              [&row](std::uint8_t size) {
                  row += size;
                  return std::is_sorted(row - size, row);
              }),
          "x must ascend in each slot");
    check(all(kind, [](std::uint8_t v) { return v <= 2; }), "kind must be 0 to 2");
    check(all(reliability, [](std::uint8_t v) { return v <= 100; }), "reliability must be 0 to 100");
    return {sizes.data(), removed.data(),   first.data(), second.data(),     x.data(),
            y.data(),     direction.data(), kind.data(),  reliability.data()};
}

std::unique_ptr<FingerIndex> index_of_columns(const Code& sizes, const Code& removed, const Array<std::uint64_t>& first,
                                              const Array<std::uint64_t>& second, const Array<std::int16_t>& x,
                                              const Array<std::int16_t>& y, const Code& direction, const Code& kind,
                                              const Code& reliability) {
    const IndexColumns columns = checked_columns(sizes, removed, first, second, x, y, direction, kind, reliability);
    const auto slots = static_cast<std::size_t>(sizes.size());
    auto index = std::make_unique<FingerIndex>();
    const py::gil_scoped_release release;
    index->append(columns, slots);
    return index;
}

std::unique_ptr<FingerTile> tile_of_columns(const Code& sizes, const Code& removed, const Array<std::uint64_t>& first,
                                            const Array<std::uint64_t>& second, const Array<std::int16_t>& x,
                                            const Array<std::int16_t>& y, const Code& direction, const Code& kind,
                                            const Code& reliability, unsigned threads) {
    const IndexColumns columns = checked_columns(sizes, removed, first, second, x, y, direction, kind, reliability);
    const auto fingers = static_cast<std::size_t>(sizes.size());
    const py::gil_scoped_release release;
    return std::make_unique<FingerTile>(columns, fingers, threads, SignalPoll());
}

py::tuple near_pairs(const FingerTile& tile, const FingerTile& probes, py::ssize_t begin, const Slots& limits,
                     float least, unsigned threads) {
    check(limits.ndim() == 1 && begin >= 0 && begin + limits.size() <= static_cast<py::ssize_t>(probes.size()),
          "limits must be an (m,) array, of as many probes");
    for (py::ssize_t k = 0; k < limits.size(); ++k)
        check(limits.data()[k] >= 0 && limits.data()[k] <= static_cast<std::int64_t>(tile.size()),
              "limits must be 0 to the number of fingers");
    check(tile.has_tables(), "tables must have been built");
    std::vector<FingerPair> pairs;
    {
        const std::int64_t* beyond = limits.data();
        const auto from = static_cast<std::size_t>(begin), to = from + static_cast<std::size_t>(limits.size());
        const py::gil_scoped_release release;
        pairs = tile.near(probes, from, to, beyond, least, threads, SignalPoll());
    }
    const auto n = static_cast<py::ssize_t>(pairs.size());
    py::array_t<std::int64_t> probe(n), reference(n);
    py::array_t<float> evidence(n);
    for (std::size_t k = 0; k < pairs.size(); ++k) {
        probe.mutable_data()[k] = pairs[k].probe;
        reference.mutable_data()[k] = pairs[k].reference;
        evidence.mutable_data()[k] = pairs[k].evidence;
    }
    return py::make_tuple(probe, reference, evidence);
}

// FingerTile::refine or FingerTile::compare.
template <auto method>
py::array_t<float> of_pairs(const FingerTile& tile, const FingerTile& probes, const Slots& probe,
                            const Slots& reference, unsigned threads) {
    check(probe.size() == reference.size(), "probe and reference must be arrays of one length");
    check_slots(probe, probes.size());
    check_slots(reference, tile.size());
    const auto count = static_cast<std::size_t>(probe.size());
    py::array_t<float> result(probe.size());
    const std::int64_t *first = probe.data(), *second = reference.data();
    float* out = result.mutable_data();
    const py::gil_scoped_release release;
    (tile.*method)(probes, first, second, count, threads, SignalPoll(), out);
    return result;
}

py::dict compare_in_detail(const X& x1, const X& y1, const Direction& direction1, const Code& kind1,
                           const Code& quality1, int resolution_x1, int resolution_y1, const X& x2, const X& y2,
                           const Direction& direction2, const Code& kind2, const Code& quality2, int resolution_x2,
                           int resolution_y2) {
    const Explanation found = explain(one_template(x1, y1, direction1, kind1, quality1, resolution_x1, resolution_y1),
                                      one_template(x2, y2, direction2, kind2, quality2, resolution_x2, resolution_y2));
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
py::dict prepare(const X& x, const X& y, const Direction& direction, const Code& kind, const Code& quality,
                 int resolution_x, int resolution_y) {
    std::vector<std::uint8_t> order;
    const RawTemplate raw = one_template(x, y, direction, kind, quality, resolution_x, resolution_y);
    const PreparedTemplate prepared(raw, &order);
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
    result["order"] = py::array_t<std::uint8_t>(n, order.data());
    return result;
}

// The byte of every pair of minutiae, each side in its prepared order.
py::array_t<std::uint8_t> similarities(const X& x1, const X& y1, const Direction& direction1, const Code& kind1,
                                       const Code& quality1, int resolution_x1, int resolution_y1, const X& x2,
                                       const X& y2, const Direction& direction2, const Code& kind2,
                                       const Code& quality2, int resolution_x2, int resolution_y2) {
    const PreparedTemplate probe(one_template(x1, y1, direction1, kind1, quality1, resolution_x1, resolution_y1));
    const PreparedTemplate reference(one_template(x2, y2, direction2, kind2, quality2, resolution_x2, resolution_y2));
    const std::size_t n = probe.view().size(), m = reference.view().size(), stride = reference.view().stride();
    std::vector<std::uint8_t> padded(n * stride);
    kernels().similarities(probe.view(), reference.view(), padded.data());
    py::array_t<std::uint8_t> result({static_cast<py::ssize_t>(n), static_cast<py::ssize_t>(m)});
    for (std::size_t i = 0; i < n; ++i) std::copy_n(padded.data() + i * stride, m, result.mutable_data() + i * m);
    return result;
}

py::array_t<float> dot_products(const Array<std::uint16_t>& probe, const Array<std::uint16_t>& rows,
                                const std::optional<Slots>& which, unsigned threads) {
    check(probe.ndim() == 1 && rows.ndim() == 2 && rows.shape(1) == probe.size(),
          "expected a (d,) probe and (n, d) rows");
    if (which) check_slots(*which, static_cast<std::size_t>(rows.shape(0)));
    const auto d = static_cast<std::size_t>(probe.size());
    const auto count = static_cast<std::size_t>(which ? which->size() : rows.shape(0));
    py::array_t<float> scores(static_cast<py::ssize_t>(count));
    const std::int64_t* chosen = which ? which->data() : nullptr;
    const std::uint16_t *p = probe.data(), *r = rows.data();
    float* out = scores.mutable_data();
    const py::gil_scoped_release release;
    constexpr std::size_t kBlock = 4096;  // rows a thread takes at a time: about a millisecond
    for_blocks(
        count, kBlock, thread_count(threads),
        [&](std::size_t begin, std::size_t end, unsigned) {
            const std::uint16_t* from = chosen ? r : r + begin * d;
            kernels().dot_products(p, from, d, chosen ? chosen + begin : nullptr, end - begin, d, out + begin);
        },
        SignalPoll());
    return scores;
}

py::array_t<float> dot_products_of_pairs(const Array<std::uint16_t>& first, const Array<std::uint16_t>& second,
                                         const Slots& first_rows, const Slots& second_rows, unsigned threads) {
    check(first.ndim() == 2 && second.ndim() == 2 && first.shape(1) == second.shape(1),
          "expected (n, d) and (m, d) arrays");
    check(first_rows.size() == second_rows.size(), "expected as many rows of both");
    check_slots(first_rows, static_cast<std::size_t>(first.shape(0)));
    check_slots(second_rows, static_cast<std::size_t>(second.shape(0)));
    const auto count = static_cast<std::size_t>(first_rows.size()), d = static_cast<std::size_t>(first.shape(1));
    py::array_t<float> scores(first_rows.size());
    const std::uint16_t *a = first.data(), *b = second.data();
    const std::int64_t *own = first_rows.data(), *other = second_rows.data();
    float* out = scores.mutable_data();
    const py::gil_scoped_release release;
    constexpr std::size_t kBlock = 4096;  // pairs a thread takes at a time: about a millisecond
    for_blocks(
        count, kBlock, thread_count(threads),
        [&](std::size_t begin, std::size_t end, unsigned) {
            for (std::size_t k = begin; k < end; ++k)
                kernels().dot_products(a + static_cast<std::size_t>(own[k]) * d, b, d, other + k, 1, d, out + k);
        },
        SignalPoll());
    return scores;
}

}  // namespace

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
    simd_level();  // a bad ABIS_SIMD is refused here, not in the middle of a search
    m.doc() = "The native core of abis; see _core.pyi. Use abis.comparison instead.";

    py::class_<References>(m, "References")
        .def(py::init<>())
        .def("append", &append<References>, py::arg("x").noconvert(), py::arg("y").noconvert(),
             py::arg("direction").noconvert(), py::arg("kind").noconvert(), py::arg("quality").noconvert(),
             py::arg("counts").noconvert(), py::arg("resolutions").noconvert(), py::arg("threads"))
        .def("remove", &remove<References>, py::arg("slots").noconvert())
        .def("compare", &compare_with, py::arg("x").noconvert(), py::arg("y").noconvert(),
             py::arg("direction").noconvert(), py::arg("kind").noconvert(), py::arg("quality").noconvert(),
             py::arg("resolution_x"), py::arg("resolution_y"), py::arg("slots").noconvert(), py::arg("cutoff"),
             py::arg("threads"))
        .def("compare_pairs", &compare_pairs, py::arg("probes").noconvert(), py::arg("references").noconvert(),
             py::arg("threads"))
        .def("__len__", &References::size)
        .def_property_readonly("memory_bytes", &References::memory_bytes);

    py::class_<FingerProbe>(m, "FingerProbe")
        .def(py::init(&finger_probe), py::arg("x").noconvert(), py::arg("y").noconvert(),
             py::arg("direction").noconvert(), py::arg("kind").noconvert(), py::arg("quality").noconvert(),
             py::arg("resolution_x"), py::arg("resolution_y"));

    py::class_<FingerIndex>(m, "FingerIndex")
        .def(py::init<>())
        .def("append", &append<FingerIndex>, py::arg("x").noconvert(), py::arg("y").noconvert(),
             py::arg("direction").noconvert(), py::arg("kind").noconvert(), py::arg("quality").noconvert(),
             py::arg("counts").noconvert(), py::arg("resolutions").noconvert(), py::arg("threads"))
        .def("remove", &remove<FingerIndex>, py::arg("slots").noconvert())
        .def("screen", &screen, py::arg("probe"), py::arg("threads"))
        .def("sift", &of_slots<&FingerIndex::sift>, py::arg("probe"), py::arg("slots").noconvert(), py::arg("threads"))
        .def("refine", &of_slots<&FingerIndex::refine>, py::arg("probe"), py::arg("slots").noconvert(),
             py::arg("threads"))
        .def("compare", &of_slots<&FingerIndex::compare>, py::arg("probe"), py::arg("slots").noconvert(),
             py::arg("threads"))
        .def("contents", &contents_of_slots, py::arg("slots").noconvert())
        .def("columns", &index_columns)
        .def_static("from_columns", &index_of_columns, py::arg("sizes").noconvert(), py::arg("removed").noconvert(),
                    py::arg("first").noconvert(), py::arg("second").noconvert(), py::arg("x").noconvert(),
                    py::arg("y").noconvert(), py::arg("direction").noconvert(), py::arg("kind").noconvert(),
                    py::arg("reliability").noconvert())
        .def("__len__", &FingerIndex::size)
        .def_property_readonly("memory_bytes", &FingerIndex::memory_bytes);

    py::class_<Tally> tally(m, "Tally");
    tally.def(py::init<>())
        .def("begin", &Tally::begin, py::arg("span"), py::call_guard<py::gil_scoped_release>())
        .def("next_position", &Tally::next_position, py::call_guard<py::gil_scoped_release>())
        .def("largest", &largest, py::arg("count"), py::arg("among").noconvert());
    const auto of_owners = [&tally](auto key) {
        using Key = decltype(key);
        tally
            .def("screen_fingers", &tally_fingers<Key>, py::arg("index"), py::arg("probe"),
                 py::arg("subjects").noconvert(), py::arg("is_run"), py::arg("gone").noconvert(), py::arg("threads"))
            .def("add_evidence", &tally_evidence<Key>, py::arg("evidence").noconvert(), py::arg("subjects").noconvert(),
                 py::arg("is_run"), py::arg("gone").noconvert());
    };
    of_owners(std::uint32_t{});
    of_owners(std::int64_t{});
    m.def("rotate", &rotate_vectors, py::arg("vectors").noconvert(), py::arg("signs").noconvert());

    m.def("contents", &contents, py::arg("quality").noconvert(), py::arg("counts").noconvert());

    py::class_<FingerTile>(m, "FingerTile")
        .def(py::init(&tile_of_columns), py::arg("sizes").noconvert(), py::arg("removed").noconvert(),
             py::arg("first").noconvert(), py::arg("second").noconvert(), py::arg("x").noconvert(),
             py::arg("y").noconvert(), py::arg("direction").noconvert(), py::arg("kind").noconvert(),
             py::arg("reliability").noconvert(), py::arg("threads"))
        .def(
            "build_tables", [](FingerTile& tile, unsigned threads) { tile.build_tables(threads, SignalPoll()); },
            py::arg("threads"), py::call_guard<py::gil_scoped_release>())
        .def("near", &near_pairs, py::arg("probes"), py::arg("begin"), py::arg("limits").noconvert(), py::arg("least"),
             py::arg("threads"))
        .def("refine", &of_pairs<&FingerTile::refine>, py::arg("probes"), py::arg("probe").noconvert(),
             py::arg("reference").noconvert(), py::arg("threads"))
        .def("compare", &of_pairs<&FingerTile::compare>, py::arg("probes"), py::arg("probe").noconvert(),
             py::arg("reference").noconvert(), py::arg("threads"))
        .def("__len__", &FingerTile::size)
        .def_property_readonly("memory_bytes", &FingerTile::memory_bytes);

    m.def("compare_in_detail", &compare_in_detail, py::arg("x1").noconvert(), py::arg("y1").noconvert(),
          py::arg("direction1").noconvert(), py::arg("kind1").noconvert(), py::arg("quality1").noconvert(),
          py::arg("resolution_x1"), py::arg("resolution_y1"), py::arg("x2").noconvert(), py::arg("y2").noconvert(),
          py::arg("direction2").noconvert(), py::arg("kind2").noconvert(), py::arg("quality2").noconvert(),
          py::arg("resolution_x2"), py::arg("resolution_y2"));
    m.def("prepare", &prepare, py::arg("x").noconvert(), py::arg("y").noconvert(), py::arg("direction").noconvert(),
          py::arg("kind").noconvert(), py::arg("quality").noconvert(), py::arg("resolution_x"),
          py::arg("resolution_y"));
    m.def("similarities", &similarities, py::arg("x1").noconvert(), py::arg("y1").noconvert(),
          py::arg("direction1").noconvert(), py::arg("kind1").noconvert(), py::arg("quality1").noconvert(),
          py::arg("resolution_x1"), py::arg("resolution_y1"), py::arg("x2").noconvert(), py::arg("y2").noconvert(),
          py::arg("direction2").noconvert(), py::arg("kind2").noconvert(), py::arg("quality2").noconvert(),
          py::arg("resolution_x2"), py::arg("resolution_y2"));
    m.def("dot_products", &dot_products, py::arg("probe").noconvert(), py::arg("rows").noconvert(),
          py::arg("which").noconvert(), py::arg("threads"));
    m.def("dot_products_of_pairs", &dot_products_of_pairs, py::arg("first").noconvert(), py::arg("second").noconvert(),
          py::arg("first_rows").noconvert(), py::arg("second_rows").noconvert(), py::arg("threads"));
    m.def("simd_level", [] { return name_of(simd_level()); });
}

}  // namespace abis
