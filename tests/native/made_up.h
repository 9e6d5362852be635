// SPDX-License-Identifier: Apache-2.0
// Made-up templates, the same everywhere, and a digest of results: for the programs of this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "fingerprint/template.h"

namespace abis::made_up {

// SplitMix64 [Steele, Lea and Flood 2014].
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() {
        std::uint64_t z = state_ += 0x9E3779B97F4A7C15U;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
        return z ^ (z >> 31);
    }
    int below(int end) { return static_cast<int>(next() % static_cast<std::uint64_t>(end)); }

private:
    std::uint64_t state_;
};

// Templates and the columns that they point into.
class Fingers {
public:
    // Of each of `fingers`, of fewer than `most` minutiae, several impressions follow each other, each moved, with some
    // minutiae lost and some strange.
    Fingers(int fingers, int impressions, std::uint64_t seed, int most = 90) {
        Random random(seed);
        for (int f = 0; f < fingers; ++f) {
            std::vector<Row> own;
            for (int k = random.below(most); k > 0; --k) own.push_back(row(random));
            for (int i = 0; i < impressions; ++i) {
                const int dx = random.below(40), dy = random.below(40);
                sizes_.push_back(0);
                for (const Row& one : own) {
                    if (random.below(8) == 0) {
                        push(row(random));
                    } else {
                        const int jx = random.below(5), jy = random.below(5), jd = random.below(9);
                        push({one.x + dx + jx, one.y + dy + jy, (one.direction + jd) % 360, one.kind, one.quality});
                    }
                }
            }
        }
        std::size_t begin = 0;
        for (const std::size_t n : sizes_) {
            templates_.push_back({n, x_.data() + begin, y_.data() + begin, direction_.data() + begin,
                                  kind_.data() + begin, quality_.data() + begin, 197, begin % 2 == 0 ? 197 : 224});
            begin += n;
        }
    }
    Fingers(const Fingers&) = delete;
    Fingers& operator=(const Fingers&) = delete;
    const std::vector<RawTemplate>& templates() const { return templates_; }

private:
    struct Row {
        int x, y, direction, kind, quality;
    };
    static Row row(Random& random) {
        const int x = random.below(400), y = random.below(500), direction = random.below(360);
        const int kind = random.below(3), quality = random.below(101);
        return {x, y, direction, kind, quality};
    }
    void push(const Row& one) {
        x_.push_back(static_cast<std::uint16_t>(one.x));
        y_.push_back(static_cast<std::uint16_t>(one.y));
        direction_.push_back(static_cast<float>(one.direction));
        kind_.push_back(static_cast<std::uint8_t>(one.kind));
        quality_.push_back(static_cast<std::uint8_t>(one.quality));
        ++sizes_.back();
    }

    std::vector<std::size_t> sizes_;
    std::vector<std::uint16_t> x_, y_;
    std::vector<float> direction_;
    std::vector<std::uint8_t> kind_, quality_;
    std::vector<RawTemplate> templates_;
};

// FNV-1a, 64 bits, of the bytes of values.
class Digest {
public:
    template <class T>
    void add(const std::vector<T>& values) {
        for (const T& value : values) add(value);
    }
    template <class T>
    void add(const T& value) {
        static_assert(std::is_arithmetic_v<T>);
        unsigned char bytes[sizeof value];
        std::memcpy(bytes, &value, sizeof value);
        for (const unsigned char byte : bytes) state_ = (state_ ^ byte) * 0x100000001B3U;
    }
    std::uint64_t value() const { return state_; }

private:
    std::uint64_t state_ = 0xCBF29CE484222325U;
};

inline void no_poll() {}

}  // namespace abis::made_up
