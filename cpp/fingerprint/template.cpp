// SPDX-License-Identifier: Apache-2.0
#include "fingerprint/template.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <tuple>

#include "fingerprint/parameters.h"

namespace abis {
namespace {

constexpr std::uint8_t kNoQuality = 255;

// Places are counted from the middle of all, so that rounding does not depend on where the finger lay.
class Scale {
public:
    Scale(const std::uint16_t* pixels, std::size_t n, int resolution)
        : half_(parameters::kPixelsPerCentimetre / static_cast<float>(2 * resolution)) {
        if (n == 0) return;
        const auto [least, most] = std::minmax_element(pixels, pixels + n);
        twice_middle_ = *least + *most;
    }
    std::int16_t operator()(std::uint16_t pixels) const {
        const float at_500_dpi = static_cast<float>(2 * pixels - twice_middle_) * half_;
        return static_cast<std::int16_t>(std::lround(std::clamp(at_500_dpi, -32767.0F, 32767.0F)));
    }

private:
    float half_;
    int twice_middle_ = 0;
};

// Extractors disagree on what a quality of 60 means, so each minutia is compared with its own template.
std::uint8_t reliable_quality(const std::uint8_t* quality, std::size_t n) {
    std::vector<std::uint8_t> reported;
    std::copy_if(quality, quality + n, std::back_inserter(reported), [](std::uint8_t q) { return q != kNoQuality; });
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
    const std::uint8_t reliable = reliable_quality(raw.quality, raw.n);
    const Scale scaled_x(raw.x, raw.n, raw.resolution_x), scaled_y(raw.y, raw.n, raw.resolution_y);
    std::vector<Minutia> minutiae(raw.n);
    for (std::size_t i = 0; i < raw.n; ++i) {
        const float units = degrees_to_units(raw.direction[i]);
        minutiae[i] = {
            .x = scaled_x(raw.x[i]),
            .y = static_cast<std::int16_t>(-scaled_y(raw.y[i])),
            .direction = static_cast<Angle>(std::lround(units)),
            .kind = static_cast<Kind>(raw.kind[i]),
            .reliability = reliability(raw.quality[i], reliable),
        };
    }
    std::vector<std::uint8_t> sorted(raw.n);
    std::iota(sorted.begin(), sorted.end(), std::uint8_t{0});
    const auto key = [&](std::uint8_t i) { return std::tuple_cat(order_of(minutiae[i]), std::make_tuple(i)); };
    std::sort(sorted.begin(), sorted.end(), [&](std::uint8_t a, std::uint8_t b) { return key(a) < key(b); });
    std::vector<Minutia> result(raw.n);
    std::transform(sorted.begin(), sorted.end(), result.begin(), [&](std::uint8_t i) { return minutiae[i]; });
    if (order != nullptr) *order = std::move(sorted);
    return result;
}

std::int64_t content(const std::uint8_t* quality, std::size_t n) {
    const std::uint8_t reliable = reliable_quality(quality, n);
    return std::accumulate(quality, quality + n, std::int64_t{0},
                           [&](std::int64_t sum, std::uint8_t q) { return sum + reliability(q, reliable); });
}

}  // namespace abis
