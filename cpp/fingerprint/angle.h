// SPDX-License-Identifier: Apache-2.0
// Angles as one byte a turn, and trigonometry that gives the same bits on every CPU.
#pragma once

#include <array>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

// Scores are the same to the bit on every CPU; none of these may be otherwise.
static_assert(std::endian::native == std::endian::little);
static_assert(std::numeric_limits<float>::is_iec559 && FLT_EVAL_METHOD == 0);
#if defined(__FAST_MATH__)
#error "no -ffast-math: it changes scores"
#endif

namespace abis {

// 256 units make a turn, as in ISO/IEC 19794-2:2005, so that wrapping is the wrapping of the byte.
using Angle = std::uint8_t;

constexpr float degrees_to_units(float degrees) { return degrees * (256.0F / 360.0F); }

// The signed difference a - b, in [-128, 127] units.
constexpr int angle_difference(Angle a, Angle b) { return static_cast<std::int8_t>(a - b); }

namespace detail {

// The C library picks its sine by CPU, with different last bits; a Taylor series at compile time does not.
constexpr double sine_of(double radians) {
    double term = radians, sum = radians;
    for (int k = 1; k < 16; ++k) {
        term *= -radians * radians / ((2 * k) * (2 * k + 1));
        sum += term;
    }
    return sum;
}

constexpr std::array<float, 256> sine_table() {
    std::array<float, 256> table{};
    for (int k = 0; k < 256; ++k) {
        const double turn = (k < 128 ? k : k - 256) / 256.0;
        table[static_cast<std::size_t>(k)] = static_cast<float>(sine_of(turn * 2 * std::numbers::pi));
    }
    return table;
}

inline constexpr std::array<float, 256> kSine = sine_table();

}  // namespace detail

inline float sine(Angle a) { return detail::kSine[a]; }
inline float cosine(Angle a) { return detail::kSine[static_cast<Angle>(a + 64)]; }

// The angle of the vector (x, y) to within 0.3 degrees, by the approximation
// atan z = z (pi/4 + 0.273 (1 - |z|)), Rajan et al. 2006, "Efficient approximations for the
// arctangent function", IEEE Signal Processing Magazine 23(3), equation 10.
inline Angle angle_of(float x, float y) {
    const float ax = std::fabs(x), ay = std::fabs(y);
    if (ax == 0.0F && ay == 0.0F) return 0;
    const bool steep = ay > ax;
    const float z = steep ? ax / ay : ay / ax;
    constexpr float kUnitsPerRadian = static_cast<float>(128.0 / std::numbers::pi);
    float units = z * (32.0F + 0.273F * kUnitsPerRadian * (1.0F - z));
    if (steep) units = 64.0F - units;
    if (x < 0) units = 128.0F - units;
    if (y < 0) units = -units;
    return static_cast<Angle>(static_cast<int>(std::lround(units)));
}

}  // namespace abis
