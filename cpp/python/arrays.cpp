// SPDX-License-Identifier: Apache-2.0
#include "python/arrays.h"

#include <limits>
#include <string>

#include "fingerprint/parameters.h"

namespace abis {

std::vector<std::int64_t> checked_indices(const Indices& indices, std::size_t end) {
    check(indices.ndim() == 1, "slots must be an (m,) array");
    std::vector<std::int64_t> copy = indices.copied();
    for (const std::int64_t index : copy) {
        if (index < 0 || static_cast<std::uint64_t>(index) >= end)
            throw py::index_error("slot " + std::to_string(index) + " of " + std::to_string(end));
    }
    return copy;
}

Templates::Templates(const Array<std::uint16_t>& x, const Array<std::uint16_t>& y, const Array<float>& direction,
                     const Bytes& kind, const Bytes& quality) {
    const py::ssize_t n = x.size();
    check(x.ndim() == 1 && y.ndim() == 1 && direction.ndim() == 1 && kind.ndim() == 1 && quality.ndim() == 1 &&
              y.size() == n && direction.size() == n && kind.size() == n && quality.size() == n,
          "x, y, direction, kind and quality must be arrays of one length");
    x_ = x.copied();
    y_ = y.copied();
    direction_ = direction.copied();
    kind_ = kind.copied();
    quality_ = quality.copied();
    const auto all = [](const auto& column, auto good) { return std::all_of(column.begin(), column.end(), good); };
    check(all(direction_, [](float v) { return v >= 0 && v < 360; }),
          "direction must be 0 to 360 degrees, 360 excluded");
    check(all(kind_, [](std::uint8_t v) { return v <= static_cast<std::uint8_t>(Kind::bifurcation); }),
          "kind must be 0 to 2");
    check(all(quality_, [](std::uint8_t v) { return v <= 100 || v == 255; }), "quality must be 0 to 100, or 255");
}

void Templates::add(std::size_t begin, std::int64_t count, int resolution_x, int resolution_y) {
    constexpr int kMost = std::numeric_limits<std::uint16_t>::max();  // the widest field of any format
    check(count >= 0 && count <= static_cast<std::int64_t>(parameters::kMaxMinutiae),
          "a template holds 0 to 255 minutiae");
    check(static_cast<std::size_t>(count) <= x_.size() - begin, "counts add up to more minutiae than there are");
    check(resolution_x > 0 && resolution_y > 0 && resolution_x <= kMost && resolution_y <= kMost,
          "resolution must be 1 to 65535 pixels per centimetre");
    templates_.push_back({static_cast<std::size_t>(count), x_.data() + begin, y_.data() + begin,
                          direction_.data() + begin, kind_.data() + begin, quality_.data() + begin, resolution_x,
                          resolution_y});
}

const RawTemplate& Templates::one(int resolution_x, int resolution_y) {
    add(0, static_cast<std::int64_t>(x_.size()), resolution_x, resolution_y);
    return templates_.front();
}

const std::vector<RawTemplate>& Templates::many(const Indices& counts, const Array<std::int32_t>& resolutions) {
    check(counts.ndim() == 1, "counts must be a (t,) array");
    check(resolutions.ndim() == 2 && resolutions.shape(0) == counts.size() && resolutions.shape(1) == 2,
          "resolutions must be a (t, 2) array");
    std::size_t begin = 0;
    for (py::ssize_t t = 0; t < counts.size(); ++t) {
        add(begin, counts.at(t), resolutions.at(t, 0), resolutions.at(t, 1));
        begin += templates_.back().n;
    }
    check(begin == x_.size(), "counts add up to fewer minutiae than there are");
    return templates_;
}

}  // namespace abis
