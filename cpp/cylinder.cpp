// SPDX-License-Identifier: Apache-2.0
#include "cylinder.h"

#include <algorithm>
#include <cmath>

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
constexpr std::size_t kNoCell = kCells;

float centre_of(int cell) { return (static_cast<float>(cell) + 0.5F) * kCellSide - kCylinderRadius; }

// The first and the last cell of a row of them whose centres may lie within reach; empty where first is the larger.
struct CellRange {
    int first, last;
};
CellRange cells_near(float place) {
    const float at = (place + kCylinderRadius) / kCellSide - 0.5F,
                reach = static_cast<float>(kReach) / kCellSide + 0.01F;
    return {std::max(0, static_cast<int>(std::ceil(at - reach))),
            std::min(kCellsAcross - 1, static_cast<int>(std::floor(at + reach)))};
}

struct Tables {
    std::array<std::array<std::size_t, kCellsAcross>, kCellsAcross> numbers;  // of cells in the circle, else kNoCell
    std::array<std::int32_t, kReach * kReach + 1> by_distance;                // of squared distance [MCC, equation 7]
    std::array<std::array<std::int32_t, kSectors>, 256> by_direction;         // of angle difference [MCC, equation 9]
    std::int64_t threshold;
};

Tables make_tables() {
    Tables t{};
    std::size_t cell = 0;
    for (std::size_t i = 0; i < kCellsAcross; ++i) {
        for (std::size_t j = 0; j < kCellsAcross; ++j) {
            const float x = centre_of(static_cast<int>(i)), y = centre_of(static_cast<int>(j));
            const bool inside = x * x + y * y <= kCylinderRadius * kCylinderRadius;
            t.numbers[i][j] = inside ? cell++ : kNoCell;
        }
    }
    // Both kernels are scaled to a peak of kScale; the threshold carries their true peaks.
    for (std::size_t squared = 0; squared < t.by_distance.size(); ++squared) {
        const double exponent = static_cast<double>(squared) / (2.0 * kCellSigma * kCellSigma);
        t.by_distance[squared] = static_cast<std::int32_t>(std::lround(kScale * exp_of_minus(exponent)));
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
            t.by_direction[static_cast<std::size_t>(difference)][static_cast<std::size_t>(sector)] =
                static_cast<std::int32_t>(std::lround(kScale * mass(offset) / peak));
        }
    }
    const double density_peak = 1 / (kCellSigma * std::sqrt(2 * std::numbers::pi));
    t.threshold = static_cast<std::int64_t>(kCellThreshold / (density_peak * peak) * kScale * kScale);
    return t;
}

const Tables& tables() {
    static const Tables instance = make_tables();
    return instance;
}

}  // namespace

std::vector<Cylinder> cylinders(const std::vector<Minutia>& minutiae) {
    const Tables& table = tables();
    std::vector<Cylinder> result(minutiae.size(), Cylinder{});
    for (std::size_t m = 0; m < minutiae.size(); ++m) {
        const Minutia& centre = minutiae[m];
        const float c = cosine(centre.direction), s = sine(centre.direction);
        std::array<std::int64_t, 64 * kCylinderWords> sums{};  // cell by cell, sector by sector
        int neighbours = 0;
        for (std::size_t t = 0; t < minutiae.size(); ++t) {
            if (t == m) continue;
            const float dx = static_cast<float>(minutiae[t].x - centre.x);
            const float dy = static_cast<float>(minutiae[t].y - centre.y);
            constexpr float kFarthest = kCylinderRadius + kReach;
            if (dx * dx + dy * dy > kFarthest * kFarthest) continue;
            const float u = dx * c + dy * s, v = dy * c - dx * s;
            const Angle difference = static_cast<Angle>(centre.direction - minutiae[t].direction);
            const auto& by_sector = table.by_direction[difference];
            bool reaches = false;
            const CellRange columns = cells_near(v), rows = cells_near(u);
            for (int i = rows.first; i <= rows.last; ++i) {
                const float ex = centre_of(i) - u;
                for (int j = columns.first; j <= columns.last; ++j) {
                    const std::size_t cell = table.numbers[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)];
                    const float ey = centre_of(j) - v;
                    const float squared = ex * ex + ey * ey;
                    if (cell == kNoCell || squared > static_cast<float>(kReach * kReach)) continue;
                    reaches = true;
                    const std::int64_t weight = table.by_distance[static_cast<std::size_t>(squared)];
                    for (std::size_t k = 0; k < kSectors; ++k) sums[kSectors * cell + k] += weight * by_sector[k];
                }
            }
            neighbours += reaches;
        }
        if (neighbours < kLeastNeighbours) continue;
        for (std::size_t w = 0; w < kCylinderWords; ++w) {
            std::uint64_t word = 0;
            for (std::size_t bit = 0; bit < 64; ++bit)
                word |= static_cast<std::uint64_t>(sums[64 * w + bit] > table.threshold) << bit;
            result[m][w] = word;
        }
    }
    return result;
}

}  // namespace abis
