// SPDX-License-Identifier: Apache-2.0
// What the comparison sees of a template: minutiae at 500 dpi, in an order that depends on nothing but them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <vector>

#include "fingerprint/angle.h"

namespace abis {

enum class Kind : std::uint8_t { other = 0, ending = 1, bifurcation = 2 };

struct Minutia {
    std::int16_t x, y;  // pixels at 500 dpi from the middle of all minutiae; y grows upwards, unlike on the image
    Angle direction;    // anticlockwise from the x axis
    Kind kind;
    std::uint8_t reliability;  // 0 to 100 %: its quality against that of the template's better ones
};

// What minutiae of a template are sorted by.
inline auto order_of(const Minutia& m) { return std::tie(m.x, m.y, m.direction, m.kind, m.reliability); }

// One finger view as the formats deliver it. All arrays hold n values.
struct RawTemplate {
    std::size_t n;
    const std::uint16_t *x, *y;      // pixels; y grows downwards
    const float* direction;          // degrees in [0, 360)
    const std::uint8_t* kind;        // codes of Kind
    const std::uint8_t* quality;     // 0 to 100, or 255: not reported
    int resolution_x, resolution_y;  // pixels per centimetre
};

// The minutiae scaled to 500 dpi and sorted by x, y, direction, kind, reliability. order[k] receives the
// index in `raw` of the k-th, where `order` is not null.
std::vector<Minutia> normalise(const RawTemplate& raw, std::vector<std::uint8_t>* order = nullptr);

// How much there is to compare: the minutiae's reliabilities added up, by their qualities alone.
std::int64_t content(const std::uint8_t* quality, std::size_t n);

}  // namespace abis
