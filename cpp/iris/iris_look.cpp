// SPDX-License-Identifier: Apache-2.0
#include "iris/iris_look.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "iris/iris_kernels.h"

namespace abis {
namespace {

constexpr std::size_t kBlocksAPoll = 4096;

struct Near {
    float score;
    std::int64_t slot;
};

bool is_nearer(const Near& a, const Near& b) { return a.score != b.score ? a.score > b.score : a.slot < b.slot; }

// The nearest so far. Slots come in ascending order, so that of equal scores the first are kept.
class Shortlist {
public:
    explicit Shortlist(std::size_t most) : most_(most) {}

    void add(float score, std::size_t slot) {
        if (!(score > least_)) return;
        near_.push_back({score, static_cast<std::int64_t>(slot)});
        if (near_.size() >= 2 * most_ + 64) cut();
    }
    std::vector<Near> sorted() {
        cut();
        std::sort(near_.begin(), near_.end(), is_nearer);
        return std::move(near_);
    }

private:
    void cut() {
        if (near_.size() <= most_) return;
        const auto last = near_.begin() + static_cast<std::ptrdiff_t>(most_ - 1);
        std::nth_element(near_.begin(), last, near_.end(), is_nearer);
        least_ = last->score;
        near_.resize(most_);
    }

    std::size_t most_;
    float least_ = -std::numeric_limits<float>::infinity();
    std::vector<Near> near_;
};

}  // namespace

NearIrises nearest_irises(const std::uint64_t* probe, std::size_t coarse, std::size_t rotations, std::size_t words,
                          const std::uint64_t* blocks, std::size_t count, std::size_t most,
                          const std::function<void()>& poll) {
    const auto look = iris_kernels().look;
    Shortlist shortlist(most);
    for (std::size_t block = 0; block * kIrisLanes < count; ++block) {
        if (block % kBlocksAPoll == 0) poll();
        float squares[kIrisLanes];
        look(probe, coarse, rotations, words, blocks + block * 2 * words * kIrisLanes, squares);
        const std::size_t first = block * kIrisLanes, lanes = std::min(kIrisLanes, count - first);
        for (std::size_t lane = 0; lane < lanes; ++lane) shortlist.add(squares[lane], first + lane);
    }
    NearIrises found;
    for (const auto& [square, slot] : shortlist.sorted()) {
        found.scores.push_back(std::copysign(std::sqrt(std::abs(square)), square));
        found.slots.push_back(slot);
    }
    return found;
}

}  // namespace abis
