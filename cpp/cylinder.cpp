// SPDX-License-Identifier: Apache-2.0
#include "cylinder.h"

#include <cmath>

namespace abis {
namespace {

using namespace parameters;

// Contributions are summed as integers, so that neither the order of minutiae nor the CPU matters.
constexpr double kScale = 1 << 13;
constexpr int kReach = static_cast<int>(3 * kCellSigma);  // a Gaussian is nothing beyond three sigmas

struct Point {
    float x, y;
};

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

struct Tables {
    std::array<Point, kCells> cells;                                   // centres, in the minutia's own frame
    std::array<std::int32_t, kReach * kReach + 1> by_distance;         // of squared distance [MCC, equation 7]
    std::array<std::array<std::int32_t, kSectors>, 256> by_direction;  // of angle difference [MCC, equation 9]
    std::int64_t threshold;
};

Tables make_tables() {
    Tables t{};
    const float side = 2 * kCylinderRadius / kCellsAcross;
    std::size_t cell = 0;
    for (int i = 0; i < kCellsAcross; ++i) {
        for (int j = 0; j < kCellsAcross; ++j) {
            const Point p{(static_cast<float>(i) + 0.5F) * side - kCylinderRadius,
                          (static_cast<float>(j) + 0.5F) * side - kCylinderRadius};
            if (p.x * p.x + p.y * p.y <= kCylinderRadius * kCylinderRadius) t.cells[cell++] = p;
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
        std::array<std::array<std::int64_t, kSectors>, kCells> sums{};
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
            for (std::size_t cell = 0; cell < table.cells.size(); ++cell) {
                const float ex = table.cells[cell].x - u, ey = table.cells[cell].y - v;
                const float squared = ex * ex + ey * ey;
                if (squared > static_cast<float>(kReach * kReach)) continue;
                reaches = true;
                const std::int64_t weight = table.by_distance[static_cast<std::size_t>(squared)];
                for (std::size_t k = 0; k < kSectors; ++k) sums[cell][k] += weight * by_sector[k];
            }
            neighbours += reaches;
        }
        if (neighbours < kLeastNeighbours) continue;
        std::size_t bit = 0;
        for (const auto& cell : sums) {
            for (const std::int64_t sum : cell) {
                if (sum > table.threshold) result[m][bit / 64] |= std::uint64_t{1} << (bit % 64);
                ++bit;
            }
        }
    }
    return result;
}

}  // namespace abis
