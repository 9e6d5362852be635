// SPDX-License-Identifier: Apache-2.0
#include "fingerprint/cylinder.h"

#include <algorithm>
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

// Sums stop growing here, above the threshold, every so many neighbours: before they could overflow.
constexpr std::uint32_t kMostSum = 1U << 25, kPeak = 1U << 26;
constexpr std::size_t kAddedUnchecked = 63;
static_assert(kPeak == kScale * kScale && kMostSum + std::uint64_t{kAddedUnchecked} * kPeak < std::uint64_t{1} << 32);

struct Neighbour {
    float u, v;  // along and across the centre's direction, pixels
    Angle difference;
};

using Sums = std::array<SectorSums, kCells + 1>;  // of each cell, and of all outside of the circle

template <class Vector, class T>
ABIS_INLINE Vector load(const T* from) {
    Vector vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}

// Adds what a neighbour contributes; returns whether it reaches a cell of the circle.
ABIS_INLINE bool add(const Tables& table, const Neighbour& neighbour, Sums& sums) {
    const std::size_t row = first_cell(neighbour.u), column = first_cell(neighbour.v);
    const SectorSums by_sector = table.by_direction[neighbour.difference];
    const Floats ey = load<Floats>(table.centres.data() + column) - neighbour.v;  // the fourth is out of reach
    Ints reached{};
    for (std::size_t i = row; i < row + kCellsReached; ++i) {
        const float ex = table.centres[i] - neighbour.u;
        const Floats squared = ex * ex + ey * ey;
        const Ints within = squared <= static_cast<float>(kReach * kReach);
        const Ints distance = within ? __builtin_convertvector(squared, Ints) : static_cast<std::int32_t>(kBeyond);
        reached |= within & load<Ints>(table.inside[i].data() + column);
        for (std::size_t j = 0; j < kCellsReached; ++j) {
            const std::uint32_t weight = table.by_distance[static_cast<std::size_t>(distance[j])];
            sums[table.numbers[i][column + j]] += weight * by_sector;
        }
    }
    return (reached[0] | reached[1] | reached[2]) != 0;
}

// A bit for each sector of each cell whose sum is above the threshold.
ABIS_INLINE void set_bits(const Sums& sums, std::uint32_t threshold, Cylinder& cylinder) {
    for (std::size_t cell = 0; cell < kCells; ++cell) {
        const auto above = __builtin_convertvector(sums[cell] > threshold, Lanes);
        std::uint64_t eight;
        std::memcpy(&eight, &above, sizeof eight);
        const std::uint64_t bits = (eight & 0x0101010101010101U) * 0x0102040810204080U >> 56 & ((1U << kSectors) - 1);
        const std::size_t bit = kSectors * cell, shift = bit % 64;
        cylinder[bit / 64] |= bits << shift;
        if (shift + kSectors > 64) cylinder[bit / 64 + 1] |= bits >> (64 - shift);
    }
}

ABIS_INLINE void make_cylinders(const Minutia* minutiae, std::size_t n, Cylinder* result) {
    const Tables& table = tables();
    std::array<Neighbour, kMaxMinutiae + 1> near;
    for (std::size_t m = 0; m < n; ++m) {
        const Minutia& centre = minutiae[m];
        const float c = cosine(centre.direction), s = sine(centre.direction);
        std::size_t count = 0;
        for (std::size_t t = 0; t < n; ++t) {
            const float dx = static_cast<float>(minutiae[t].x - centre.x);
            const float dy = static_cast<float>(minutiae[t].y - centre.y);
            near[count] = {dx * c + dy * s, dy * c - dx * s,
                           static_cast<Angle>(centre.direction - minutiae[t].direction)};
            count += (t != m) & (dx * dx + dy * dy <= kFarthest * kFarthest);
        }
        Sums sums{};
        int neighbours = 0;
        for (std::size_t k = 0; k < count; ++k) {
            neighbours += add(table, near[k], sums);
            if (k % kAddedUnchecked == kAddedUnchecked - 1) {
                for (SectorSums& sum : sums) sum = sum < kMostSum ? sum : kMostSum;
            }
        }
        result[m] = {};
        if (neighbours >= kLeastNeighbours) set_bits(sums, table.threshold, result[m]);
    }
}

using MakeCylinders = void (*)(const Minutia* minutiae, std::size_t n, Cylinder* result);

void make_base(const Minutia* minutiae, std::size_t n, Cylinder* result) { make_cylinders(minutiae, n, result); }
#if defined(__x86_64__)
ABIS_TARGET_AVX2 void make_avx2(const Minutia* minutiae, std::size_t n, Cylinder* result) {
    make_cylinders(minutiae, n, result);
}
ABIS_TARGET_AVX512 void make_avx512(const Minutia* minutiae, std::size_t n, Cylinder* result) {
    make_cylinders(minutiae, n, result);
}
#endif

MakeCylinders chosen() {
#if defined(__x86_64__)
    return simd_level() == SimdLevel::avx512 ? make_avx512 : simd_level() == SimdLevel::avx2 ? make_avx2 : make_base;
#else
    return make_base;
#endif
}

}  // namespace

std::vector<Cylinder> cylinders(const std::vector<Minutia>& minutiae) {
    static const MakeCylinders make = chosen();
    std::vector<Cylinder> result(minutiae.size());
    make(minutiae.data(), minutiae.size(), result.data());
    return result;
}

}  // namespace abis
