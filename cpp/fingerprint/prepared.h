// SPDX-License-Identifier: Apache-2.0
// A template prepared for comparison: cylinders and minutiae as structure of arrays in one block of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fingerprint/cylinder.h"
#include "fingerprint/template.h"

namespace abis {

// Arrays are padded to a whole number of 64-byte vectors of 64-bit words.
inline constexpr std::size_t kLanes = 8;
constexpr std::size_t padded(std::size_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// Where a prepared template of n minutiae keeps its arrays; it owns nothing. Padding has no bits set, as
// has a minutia without a descriptor: in common with others they have nothing.
class PreparedView {
public:
    PreparedView(const std::byte* block, std::size_t n) : n_(n), block_(block) {}

    static constexpr std::size_t bytes(std::size_t n) { return padded(n) * kBytesPerMinutia; }

    std::size_t size() const { return n_; }
    std::size_t stride() const { return padded(n_); }
    const std::uint64_t* words() const { return at<std::uint64_t>(0); }           // [kCylinderWords][stride]
    const std::uint16_t* bits() const { return at<std::uint16_t>(kBitsOffset); }  // set in each cylinder
    const std::int16_t* x() const { return at<std::int16_t>(kXOffset); }
    const std::int16_t* y() const { return at<std::int16_t>(kYOffset); }
    const Angle* direction() const { return at<Angle>(kDirectionOffset); }
    const std::uint8_t* kind() const { return at<std::uint8_t>(kKindOffset); }
    const std::uint8_t* reliability() const { return at<std::uint8_t>(kReliabilityOffset); }

    // Writes a template into a block of bytes(n) bytes aligned to 64.
    static void write(const std::vector<Minutia>& minutiae, std::byte* block);

private:
    static constexpr std::size_t kBitsOffset = 8 * kCylinderWords;  // offsets a minutia, in bytes
    static constexpr std::size_t kXOffset = kBitsOffset + 2;
    static constexpr std::size_t kYOffset = kXOffset + 2;
    static constexpr std::size_t kDirectionOffset = kYOffset + 2;
    static constexpr std::size_t kKindOffset = kDirectionOffset + 1;
    static constexpr std::size_t kReliabilityOffset = kKindOffset + 1;
    static constexpr std::size_t kBytesPerMinutia = kReliabilityOffset + 1;

    template <class T>
    const T* at(std::size_t offset) const {
        return reinterpret_cast<const T*>(block_ + offset * padded(n_));
    }

    std::size_t n_;
    const std::byte* block_;
};

// One prepared template that owns its memory, such as a probe.
class PreparedTemplate {
public:
    // `order` as in normalise.
    explicit PreparedTemplate(const RawTemplate& raw, std::vector<std::uint8_t>* order = nullptr);
    PreparedView view() const { return {blocks_.front().bytes.data(), n_}; }

private:
    struct alignas(64) Block {
        std::array<std::byte, 64> bytes;
    };
    std::size_t n_;
    std::vector<Block> blocks_;
};

}  // namespace abis
