// SPDX-License-Identifier: Apache-2.0
#include "fingerprint/overlap.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace abis {

Hull::Hull(const float* x, const float* y, std::size_t n, float margin) {
    std::array<std::uint8_t, parameters::kMaxMinutiae> order;
    const auto end = order.begin() + static_cast<std::ptrdiff_t>(n);
    std::iota(order.begin(), end, std::uint8_t{0});
    std::sort(order.begin(), end, [&](std::uint8_t a, std::uint8_t b) {
        if (x[a] != x[b]) return x[a] < x[b];
        return y[a] != y[b] ? y[a] < y[b] : a < b;
    });
    // Monotone chain (Andrew 1979): the lower hull forwards, then the upper hull backwards.
    std::array<std::uint8_t, 2 * parameters::kMaxMinutiae + 1> hull;
    std::size_t size = 0;
    const auto extend = [&](std::uint8_t p, std::size_t base) {
        const auto turns_right = [&](std::uint8_t a, std::uint8_t b) {
            return (x[b] - x[a]) * (y[p] - y[a]) - (y[b] - y[a]) * (x[p] - x[a]) <= 0;
        };
        while (size >= base + 2 && turns_right(hull[size - 2], hull[size - 1])) --size;
        hull[size++] = p;
    };
    for (std::size_t k = 0; k < n; ++k) extend(order[k], 0);
    const std::size_t lower = size == 0 ? 0 : size - 1;
    for (std::size_t k = n; k-- > 1;) extend(order[k - 1], lower);

    for (std::size_t k = 0; k + 1 < size; ++k) {  // the chain ends where it began
        const float ax = x[hull[k]], ay = y[hull[k]], dx = x[hull[k + 1]] - ax, dy = y[hull[k + 1]] - ay;
        const float length = std::sqrt(dx * dx + dy * dy);
        if (length == 0) continue;
        const float nx = dy / length, ny = -dx / length;
        edges_[size_++] = {nx, ny, nx * ax + ny * ay + margin};
        if (size == 3 && k == 0) {  // two points or a line: close it at its ends
            const float tx = dx / length, ty = dy / length;
            edges_[size_++] = {tx, ty, tx * (ax + dx) + ty * (ay + dy) + margin};
            edges_[size_++] = {-tx, -ty, -(tx * ax + ty * ay) + margin};
        }
    }
    if (size_ == 0 && n > 0) {  // a single place: a square around it
        edges_[size_++] = {1, 0, x[0] + margin};
        edges_[size_++] = {-1, 0, -x[0] + margin};
        edges_[size_++] = {0, 1, y[0] + margin};
        edges_[size_++] = {0, -1, -y[0] + margin};
    }
}

bool Hull::contains(float x, float y) const {
    for (std::size_t k = 0; k < size_; ++k) {
        if (edges_[k].normal_x * x + edges_[k].normal_y * y > edges_[k].offset) return false;
    }
    return size_ > 0;
}

}  // namespace abis
