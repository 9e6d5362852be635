// SPDX-License-Identifier: Apache-2.0
// Columns of an index as Python hands them over; see search/finger_index.h.
#pragma once

#include <vector>

#include "python/arrays.h"
#include "python/guard.h"
#include "search/finger_index.h"

namespace abis {

using SharedFingerIndex = Guarded<FingerIndex>;

// Sizes and removals are copies; the index checks the other values as it reads them.
class Columns {
public:
    Columns(const Bytes& sizes, const Bytes& removed, const Array<std::uint64_t>& first,
            const Array<std::uint64_t>& second, const Array<std::int16_t>& x, const Array<std::int16_t>& y,
            const Bytes& direction, const Bytes& kind, const Bytes& reliability);

    const IndexColumns& view() const { return view_; }
    std::size_t slots() const { return sizes_.size(); }

private:
    std::vector<std::uint8_t> sizes_, removed_;
    IndexColumns view_;
};

}  // namespace abis
