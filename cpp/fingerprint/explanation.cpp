// SPDX-License-Identifier: Apache-2.0
#include "fingerprint/explanation.h"

#include <limits>
#include <memory>

#include "fingerprint/fingerprint.h"

namespace abis {

Explanation explain(const RawTemplate& probe, const RawTemplate& reference) {
    std::vector<std::uint8_t> probe_order, reference_order;
    const PreparedTemplate prepared_probe(probe, &probe_order), prepared_reference(reference, &reference_order);
    const auto workspace = std::make_unique_for_overwrite<Workspace>();
    const Comparison comparison =
        compare(prepared_probe.view(), prepared_reference.view(), -std::numeric_limits<float>::infinity(), *workspace);
    Explanation result{comparison.evidence, comparison.score, {}};
    for (std::size_t p = 0; comparison.pairing != nullptr && p < comparison.pairing->size; ++p) {
        const auto [first, second] = comparison.pairing->pairs[p];
        result.pairs.push_back(
            {probe_order[comparison.swapped ? second : first], reference_order[comparison.swapped ? first : second]});
    }
    return result;
}

}  // namespace abis
