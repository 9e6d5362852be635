// SPDX-License-Identifier: Apache-2.0
#include "fingerprint/cylinder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "core/simd.h"

namespace abis {
namespace {

using namespace parameters;

// Contributions are summed as integers, so that neither the order of minutiae nor the CPU matters.
constexpr double kScale = 1 << 13;
constexpr int kReach = static_cast<int>(3 * kCellSigma);  // a Gaussian is nothing beyond three sigmas

// e^-x for x >= 0 by its series after halving; the C library's exp differs from CPU to CPU.
double exp_of_minus(double x) {
    int halvings = 0;
    for (; x > 0.5; x /= 2) ++halvings;
    double term = 1, sum = 1;
    for (int k = 1; k < 18; ++k) {
        term *= -x / k;
        sum += term;
    }
    for (; halvings > 0; --halvings) sum *= sum;
    return sum;
}

constexpr float kCellSide = 2 * kCylinderRadius / kCellsAcross;

constexpr float centre_of(int cell) { return (static_cast<float>(cell) + 0.5F) * kCellSide - kCylinderRadius; }

// A neighbour reaches at most three cells of a row of them, and those from three cells before the grid to three beyond
// it.
constexpr int kCellsReached = 3, kMargin = 3;
constexpr int kGrid = kCellsAcross + 2 * kMargin;
constexpr float kFarthest = kCylinderRadius + kReach;
static_assert(2 * (kReach / kCellSide + 0.01F) < kCellsReached);

// The first of the three cells of a row whose centres may lie within reach, by its place in the grid with its margin.
constexpr std::size_t first_cell(float place) {
    constexpr float kCellReach = kReach / kCellSide + 0.01F;
    return static_cast<std::size_t>((place + kCylinderRadius) / kCellSide - 0.5F - kCellReach + (kMargin + 1));
}
static_assert(first_cell(-kFarthest - 0.01F) >= 0 && first_cell(kFarthest + 0.01F) + kCellsReached <= kGrid);

// Vectors of the compiler's: plain arithmetic, lane by lane, at every instruction set.
using Floats [[gnu::vector_size(16)]] = float;
using Ints [[gnu::vector_size(16)]] = std::int32_t;
using Lanes [[gnu::vector_size(8)]] = std::int8_t;
using SectorSums [[gnu::vector_size(32)]] = std::uint32_t;  // a sum a sector, and two to fill the vector

constexpr std::size_t kOutside = kCells;              // where contributions to cells outside of the circle go
constexpr std::size_t kBeyond = kReach * kReach + 1;  // squared distance of what contributes nothing

struct Tables {
    std::array<SectorSums, 256> by_direction;            // of angle difference [MCC, equation 9]
    std::array<std::uint32_t, kBeyond + 1> by_distance;  // of squared distance [MCC, equation 7]
    std::uint32_t threshold;
    // Of the grid and its margin, with one more that fills a vector: where cells lie, which they are, whether they
    // are in the circle (all bits) or not (none).
    std::array<float, kGrid + 1> centres;
    std::array<std::array<std::size_t, kGrid>, kGrid> numbers;
    std::array<std::array<std::int32_t, kGrid + 1>, kGrid> inside;
};

Tables make_tables() {
    Tables t{};
    std::size_t cell = 0;
    for (std::size_t i = 0; i < t.centres.size(); ++i) t.centres[i] = centre_of(static_cast<int>(i) - kMargin);
    for (std::size_t i = 0; i < kGrid; ++i) {
        for (std::size_t j = 0; j < kGrid; ++j) {
            const float x = t.centres[i], y = t.centres[j];
            const bool inside = x * x + y * y <= kCylinderRadius * kCylinderRadius;
            t.numbers[i][j] = inside ? cell++ : kOutside;
            t.inside[i][j] = inside ? -1 : 0;
        }
    }
    // Both kernels are scaled to a peak of kScale; the threshold carries their true peaks.
    for (std::size_t squared = 0; squared < kBeyond; ++squared) {
        const double exponent = static_cast<double>(squared) / (2.0 * kCellSigma * kCellSigma);
        t.by_distance[squared] = static_cast<std::uint32_t>(std::lround(kScale * exp_of_minus(exponent)));
    }
    const double width = 256.0 / kSectors;
    const auto mass = [&](double offset) {  // of a Gaussian over a sector whose centre is `offset` away
        double sum = 0;
        constexpr int kSteps = 64;
        for (int s = 0; s < kSteps; ++s) {
            const double z = (offset + width * ((s + 0.5) / kSteps - 0.5)) / kSectorSigma;
            sum += exp_of_minus(z * z / 2);
        }
        return sum * width / kSteps / (kSectorSigma * std::sqrt(2 * std::numbers::pi));
    };
    const double peak = mass(0);
    for (int difference = 0; difference < 256; ++difference) {
        for (int sector = 0; sector < kSectors; ++sector) {
            double offset = -128 + (sector + 0.5) * width - (difference < 128 ? difference : difference - 256);
            if (offset < -128) offset += 256;
            if (offset >= 128) offset -= 256;
            t.by_direction[static_cast<std::size_t>(difference)][sector] =
                static_cast<std::uint32_t>(std::lround(kScale * mass(offset) / peak));
        }
    }
    const double density_peak = 1 / (kCellSigma * std::sqrt(2 * std::numbers::pi));
    t.threshold = static_cast<std::uint32_t>(kCellThreshold / (density_peak * peak) * kScale * kScale);
    return t;
}

const Tables& tables() {
    static const Tables instance = make_tables();
    return instance;
}

// Sums stop growing here, above the threshold, at regular numbers of neighbours, before they could overflow.
constexpr std::uint32_t kMostSum = 1U << 25, kPeak = 1U << 26;
constexpr std::size_t kAddedUnchecked = 63;
static_assert(kPeak == kScale * kScale && kMostSum + std::uint64_t{kAddedUnchecked} * kPeak < std::uint64_t{1} << 32);

struct Neighbour {
    float u, v;  // along and across the centre's direction, pixels
    Angle difference;
};

using Sums = std::array<SectorSums, kCells + 1>;  // of each cell, and of all outside of the circle

}  // namespace
}  // namespace abis

#define ABIS_KERNELS "fingerprint/cylinder-inl.h"
#include "core/each_target.h"

namespace abis {

std::vector<Cylinder> cylinders(const std::vector<Minutia>& minutiae) {
    static const auto make = ABIS_CHOSEN(kMakeCylinders);
    std::vector<Cylinder> result(minutiae.size());
    make(minutiae.data(), minutiae.size(), result.data());
    return result;
}

}  // namespace abis
