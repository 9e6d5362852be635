// SPDX-License-Identifier: Apache-2.0
// The loops that make cylinders. cylinder.cpp compiles them for every instruction set; sums are of integers, so the
// results are the same to the bit.
namespace abis::ABIS_TARGET {
namespace {

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
ABIS_INLINE void set_above(const Sums& sums, std::uint32_t threshold, Cylinder& cylinder) {
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

void make_cylinders(const Minutia* minutiae, std::size_t n, Cylinder* result) {
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
        if (neighbours >= kLeastNeighbours) set_above(sums, table.threshold, result[m]);
    }
}

constexpr auto kMakeCylinders = make_cylinders;

}  // namespace
}  // namespace abis::ABIS_TARGET
