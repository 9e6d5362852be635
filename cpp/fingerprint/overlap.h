// SPDX-License-Identifier: Apache-2.0
// Which minutiae lie where the other print reaches, and so should have been found there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "fingerprint/parameters.h"

namespace abis {

// The convex hull of a template's minutiae, widened by a margin: a point is inside where it is on the inner
// side of every edge moved outwards. Corners thus reach a little further than the margin.
class Hull {
public:
    Hull() = default;
    Hull(const float* x, const float* y, std::size_t n, float margin);
    bool contains(float x, float y) const;

private:
    struct Edge {
        float normal_x, normal_y, offset;  // outwards; inside is normal . p <= offset
    };
    std::array<Edge, 2 * parameters::kMaxMinutiae + 4> edges_;  // rounding may repeat points; a hull has far fewer
    std::size_t size_ = 0;
};

}  // namespace abis
