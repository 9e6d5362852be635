// SPDX-License-Identifier: Apache-2.0
#include "template.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <tuple>

#include "parameters.h"

namespace abis {
namespace {

constexpr std::uint8_t kNoQuality = 255;

std::int16_t scaled(std::uint16_t pixels, int resolution) {
    const float at_500_dpi =
        static_cast<float>(pixels) * (parameters::kPixelsPerCentimetre / static_cast<float>(resolution));
    return static_cast<std::int16_t>(std::lround(std::min(at_500_dpi, 32767.0F)));
}

// Extractors disagree on what a quality of 60 means, so each minutia is held against its own template.
std::uint8_t reliable_quality(const RawTemplate& raw) {
    std::vector<std::uint8_t> reported;
    std::copy_if(raw.quality, raw.quality + raw.n, std::back_inserter(reported),
                 [](std::uint8_t q) { return q != kNoQuality; });
    if (reported.empty()) return 1;
    const auto rank = static_cast<std::ptrdiff_t>(static_cast<float>(reported.size()) * parameters::kReliableQuantile);
    std::nth_element(reported.begin(), reported.begin() + rank, reported.end());
    return std::max<std::uint8_t>(1, reported[static_cast<std::size_t>(rank)]);
}

std::uint8_t reliability(std::uint8_t quality, std::uint8_t reliable) {
    if (quality == kNoQuality) return 100;
    const float share = static_cast<float>(quality) / static_cast<float>(reliable);
    return static_cast<std::uint8_t>(std::lround(100 * std::clamp(share, parameters::kLeastReliability, 1.0F)));
}

}  // namespace

std::vector<Minutia> normalise(const RawTemplate& raw, std::vector<std::uint8_t>* order) {
    const std::uint8_t reliable = reliable_quality(raw);
    std::vector<Minutia> minutiae(raw.n);
    for (std::size_t i = 0; i < raw.n; ++i) {
        const float units = degrees_to_units(raw.direction[i]);
        minutiae[i] = {
            .x = scaled(raw.x[i], raw.resolution_x),
            .y = static_cast<std::int16_t>(-scaled(raw.y[i], raw.resolution_y)),
            .direction = static_cast<Angle>(std::lround(units)),
            .kind = static_cast<Kind>(raw.kind[i]),
            .reliability = reliability(raw.quality[i], reliable),
        };
    }
    std::vector<std::uint8_t> sorted(raw.n);
    std::iota(sorted.begin(), sorted.end(), std::uint8_t{0});
    const auto key = [&](std::uint8_t i) {
        const Minutia& m = minutiae[i];
        return std::make_tuple(m.x, m.y, m.direction, m.kind, m.reliability, i);
    };
    std::sort(sorted.begin(), sorted.end(), [&](std::uint8_t a, std::uint8_t b) { return key(a) < key(b); });
    std::vector<Minutia> result(raw.n);
    std::transform(sorted.begin(), sorted.end(), result.begin(), [&](std::uint8_t i) { return minutiae[i]; });
    if (order != nullptr) *order = std::move(sorted);
    return result;
}

}  // namespace abis
