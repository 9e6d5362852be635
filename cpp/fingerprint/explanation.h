// SPDX-License-Identifier: Apache-2.0
// One comparison with everything it found, for people to look at and for fitting the score.
#pragma once

#include <array>
#include <utility>
#include <vector>

#include "fingerprint/evidence.h"
#include "fingerprint/template.h"

namespace abis {

inline constexpr std::array<std::pair<const char*, float Evidence::*>, 7> kEvidenceTerms = {{
    {"pairs", &Evidence::pairs},
    {"support", &Evidence::support},
    {"missed", &Evidence::missed},
    {"overlapping", &Evidence::overlapping},
    {"rotation", &Evidence::rotation},
    {"relaxation", &Evidence::relaxation},
    {"votes", &Evidence::votes},
}};

struct Explanation {
    struct Pair {
        std::uint8_t probe, reference;  // indices of minutiae, as the templates list them
    };
    Evidence evidence;
    float score;
    std::vector<Pair> pairs;
};

Explanation explain(const RawTemplate& probe, const RawTemplate& reference);

}  // namespace abis
