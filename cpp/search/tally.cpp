// SPDX-License-Identifier: Apache-2.0
#include "search/tally.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>

#include "core/simd.h"

namespace abis {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();
constexpr std::size_t kSampled = 64;  // one value in 64 is sampled to estimate a limit
constexpr std::size_t kStretch = 64;  // values looked at as one: most have none that is large enough

struct Found {
    float evidence;
    std::int64_t subject;
};

// A value that is likely to have some more than `count` at or above it.
float guess(const std::vector<float>& values, std::size_t count) {
    const std::size_t sampled = values.size() / kSampled, expected = count / kSampled;
    const auto margin = static_cast<std::size_t>(4 * std::sqrt(static_cast<double>(expected))) + 16;
    const std::size_t rank = expected + margin;
    if (rank >= sampled / 2) return kNone;  // there is little to be gained
    std::vector<float> sample(sampled);
    for (std::size_t k = 0; k < sampled; ++k) sample[k] = values[k * kSampled];
    const auto at = sample.begin() + static_cast<std::ptrdiff_t>(rank);
    std::nth_element(sample.begin(), at, sample.end(), std::greater<>());
    return *at;
}

}  // namespace
}  // namespace abis

#define ABIS_KERNELS "search/tally-inl.h"
#include "core/each_target.h"

namespace abis {
namespace {

// All that have `least` evidence or more; -infinity is none.
std::vector<Found> from(const std::vector<float>& values, float least) {
    std::vector<Found> found;
    least = std::max(least, std::numeric_limits<float>::lowest());
    static const auto find = ABIS_CHOSEN(kFind);
    find(values, least, found);
    return found;
}

// Subjects of the `count` with most evidence, in the order given; of equal ones the first.
std::vector<std::int64_t> largest_of(const std::vector<Found>& found, std::size_t count) {
    float limit = kNone;
    std::size_t equal = 0;  // of those at the limit that are wanted
    if (count < found.size()) {
        std::vector<float> values;
        for (const Found& one : found) values.push_back(one.evidence);
        const auto at = values.begin() + static_cast<std::ptrdiff_t>(count);
        std::nth_element(values.begin(), at, values.end(), std::greater<>());
        limit = *at;
        equal = count - static_cast<std::size_t>(std::count_if(values.begin(), at, [=](float v) { return v > limit; }));
    }
    std::vector<std::int64_t> subjects;
    for (const Found& one : found) {
        if (one.evidence > limit || (one.evidence == limit && equal > 0)) {
            subjects.push_back(one.subject);
            equal -= one.evidence == limit;
        }
    }
    return subjects;
}

}  // namespace

void Tally::Column::know_up_to(std::size_t subject) {
    for (; known < subject; ++known) evidence[known] = kNone;
}

void Tally::begin(std::size_t span) {
    total_.evidence.resize(span);
    total_.known = 0;
    span_ = span;
    positions_ = 0;
    is_open_ = false;
}

void Tally::next_position() {
    if (positions_ > 0) {
        add_up();
        position_.evidence.resize(span_);
        position_.known = 0;
    }
    ++positions_;
    is_open_ = true;
}

void Tally::add_up() {
    if (is_open_) position().know_up_to(span_);
    total_.know_up_to(span_);
    if (is_open_ && positions_ > 1) {
        for (std::size_t k = 0; k < span_; ++k) {
            const float before = total_.evidence[k], more = position_.evidence[k];
            const float sum = before + (more > kNone ? more : 0.0F);
            total_.evidence[k] = before > kNone ? sum : more;
        }
    }
    is_open_ = false;
}

void Tally::check_below_span(std::size_t subject) const {
    if (subject >= span_) throw std::out_of_range("a subject's key is not below the span");
}

// Whether all that the owners' references say is all that is known of them: then it can be written where it belongs.
template <class Key>
bool Tally::in_place(const Owners<Key>& owners) const {
    return owners.subjects == nullptr && owners.gone == nullptr && owners.first >= position().known;
}

template <class Key>
float* Tally::room(const Owners<Key>& owners) {
    if (!is_open_) throw std::logic_error("no position has begun");
    if (owners.count == 0) return references_.data();
    if (owners.subjects == nullptr) {
        check_below_span(owners.first);
        if (owners.count > span_ - owners.first) check_below_span(span_);
    } else {
        for (std::size_t k = 0; k < owners.count; ++k) check_below_span(static_cast<std::size_t>(owners.subjects[k]));
    }
    if (!in_place(owners)) {
        references_.resize(std::max(references_.size(), owners.count));
        return references_.data();
    }
    position().know_up_to(owners.first);
    return position().evidence.data() + owners.first;
}

template <class Key>
void Tally::add(const Owners<Key>& owners) {
    if (owners.count == 0) return;
    Column& own = position();
    if (in_place(owners)) {
        own.known = owners.first + owners.count;
        return;
    }
    const float* found = references_.data();
    if (owners.subjects == nullptr) {
        own.know_up_to(owners.first + owners.count);
        float* best = own.evidence.data() + owners.first;
        for (std::size_t k = 0; k < owners.count; ++k) {
            const float more = owners.gone != nullptr && owners.gone[k] != 0 ? kNone : found[k];
            best[k] = best[k] < more ? more : best[k];
        }
        return;
    }
    own.know_up_to(span_);
    for (std::size_t k = 0; k < owners.count; ++k) {
        if (owners.gone != nullptr && owners.gone[k] != 0) continue;
        const auto subject = static_cast<std::size_t>(owners.subjects[k]);
        check_below_span(subject);  // again: another thread may have changed the array since
        float& best = own.evidence[subject];
        best = std::max(best, found[k]);
    }
}

template float* Tally::room(const Owners<std::uint32_t>& owners);
template float* Tally::room(const Owners<std::int64_t>& owners);
template void Tally::add(const Owners<std::uint32_t>& owners);
template void Tally::add(const Owners<std::int64_t>& owners);

std::vector<std::int64_t> Tally::largest(std::size_t count, const std::int64_t* among, std::size_t among_count) {
    add_up();
    std::vector<Found> found;
    if (among == nullptr) {
        found = from(total_.evidence, guess(total_.evidence, count));
        if (found.size() < count) found = from(total_.evidence, kNone);
    } else {
        for (std::size_t k = 0; k < among_count; ++k) {
            const auto subject = static_cast<std::size_t>(among[k]);
            if (subject < span_ && total_.evidence[subject] > kNone)
                found.push_back({total_.evidence[subject], among[k]});
        }
    }
    return largest_of(found, count);
}

void Tally::evidence_of(const std::int64_t* subjects, std::size_t count, float* evidence) {
    add_up();
    for (std::size_t k = 0; k < count; ++k) {
        const auto subject = static_cast<std::size_t>(subjects[k]);  // a negative key is above every span
        check_below_span(subject);
        evidence[k] = total_.evidence[subject];
    }
}

}  // namespace abis
