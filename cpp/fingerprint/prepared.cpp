// SPDX-License-Identifier: Apache-2.0
#include "fingerprint/prepared.h"

#include <bit>
#include <cstring>

namespace abis {

void PreparedView::write(const std::vector<Minutia>& minutiae, std::byte* block) {
    const std::size_t n = minutiae.size(), stride = padded(n);
    std::memset(block, 0, bytes(n));
    const auto put = [&]<class T>(std::size_t offset, std::size_t i, T value) {
        std::memcpy(block + offset * stride + i * sizeof(T), &value, sizeof(T));
    };
    const std::vector<Cylinder> descriptors = cylinders(minutiae);
    for (std::size_t i = 0; i < n; ++i) {
        std::uint16_t bits = 0;
        for (std::size_t w = 0; w < kCylinderWords; ++w) {
            put(8 * w, i, descriptors[i][w]);
            bits = static_cast<std::uint16_t>(bits + std::popcount(descriptors[i][w]));
        }
        put(kBitsOffset, i, bits);
        put(kXOffset, i, minutiae[i].x);
        put(kYOffset, i, minutiae[i].y);
        put(kDirectionOffset, i, minutiae[i].direction);
        put(kKindOffset, i, static_cast<std::uint8_t>(minutiae[i].kind));
        put(kReliabilityOffset, i, minutiae[i].reliability);
    }
}

PreparedTemplate::PreparedTemplate(const RawTemplate& raw, std::vector<std::uint8_t>* order)
    : n_(raw.n), blocks_(PreparedView::bytes(raw.n) / sizeof(Block) + 1) {
    PreparedView::write(normalise(raw, order), blocks_.front().bytes.data());
}

}  // namespace abis
