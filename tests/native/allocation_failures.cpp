// SPDX-License-Identifier: Apache-2.0
// Fails the n-th allocation of every operation, for every n up to 100 and then for one in a hundredth of n: it either
// succeeds all the same or throws std::bad_alloc, and then the object is as it was, and the operation succeeds when
// tried again.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <new>
#include <numeric>

#include "columns.h"
#include "core/parallel.h"
#include "fingerprint/references.h"
#include "made_up.h"
#include "search/finger_index.h"
#include "search/finger_tile.h"
#include "search/tally.h"

namespace {

std::atomic<long> left{-1};  // allocations until one fails; negative: none does

bool fails() { return left.load() >= 0 && left.fetch_sub(1) == 0; }

void* allocated(std::size_t bytes, std::size_t alignment) {
    if (fails()) throw std::bad_alloc();
    void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment + alignment);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t bytes) { return allocated(bytes, alignof(std::max_align_t)); }
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return allocated(bytes, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
    try {
        return allocated(bytes, alignof(std::max_align_t));
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

using namespace abis;
using namespace abis::made_up;

namespace {

void expect(bool good, const char* operation, const char* what, long n) {
    if (good) return;
    std::printf("%s, allocation %ld fails: %s\n", operation, n, what);
    std::exit(1);
}

// `make` gives an object, `operate` gives a result of it, `state` all that can be seen of it.
template <class Make, class Operate, class State>
void fail_each(const char* operation, const Make& make, const Operate& operate, const State& state) {
    long n = 0;
    for (bool failed = true; failed; n += 1 + n / 100) {
        auto object = make();
        const auto before = state(*object);
        auto reference = make();
        const auto expected = operate(*reference);
        const auto after = state(*reference);
        left = n;
        bool threw = false;
        try {
            expect(operate(*object) == expected, operation, "another result", n);
        } catch (const std::bad_alloc&) {
            threw = true;
        }
        failed = left.exchange(-1) < 0;
        if (threw) {
            expect(failed, operation, "thrown without cause", n);
            expect(state(*object) == before, operation, "the object has changed", n);
            expect(operate(*object) == expected, operation, "another result when tried again", n);
        }
        expect(state(*object) == after, operation, "the object is not as it should be", n);
    }
    std::printf("%s: up to %ld allocations\n", operation, n);
}

constexpr auto kNothing = [](const auto&) { return 0; };

}  // namespace

int main() {
    const Fingers some(3, 2, 1), many(130, 2, 2, 8), few(4, 2, 3);
    const unsigned threads = 3;
    const FingerProbe probe(some.templates()[2]);

    // More threads each time, or none has to be started.
    unsigned next = 4;
    const auto nothing = [] { return std::make_unique<int>(0); };
    fail_each(
        "a loop", nothing,
        [&](int&) {
            std::atomic<std::size_t> sum{0};
            for_blocks(100, 1, ++next, [&](std::size_t begin, std::size_t, unsigned) { sum += begin; }, no_poll);
            return sum.load();
        },
        kNothing);

    const auto index_of = [](const Fingers& fingers) {
        auto index = std::make_unique<FingerIndex>();
        index->append(fingers.templates(), 1, no_poll);
        return index;
    };
    const auto columns_of = [](const FingerIndex& index) { return OwnColumns(index); };
    const auto screened = [&](const FingerIndex& index) {
        std::vector<float> evidence(index.size());
        screen(index, probe, threads, evidence.data());
        return evidence;
    };
    for (const Fingers* more : {&few, &many}) {
        fail_each(
            "FingerIndex::append of templates", [&] { return index_of(some); },
            [&](FingerIndex& index) {
                index.append(more->templates(), threads, no_poll);
                return 0;
            },
            [&](const FingerIndex& index) { return std::make_pair(columns_of(index), screened(index)); });
        const OwnColumns columns(*index_of(*more));
        for (const Fingers* given : {&some, &few}) {
            fail_each(
                "FingerIndex::append of columns",
                [&] { return given == &some ? index_of(some) : std::make_unique<FingerIndex>(); },
                [&](FingerIndex& index) {
                    index.append(columns.view(), columns.sizes.size());
                    return 0;
                },
                [&](const FingerIndex& index) { return std::make_pair(columns_of(index), screened(index)); });
        }
    }
    fail_each(
        "FingerIndex::remove", [&] { return index_of(some); },
        [](FingerIndex& index) {
            index.remove(1);
            return 0;
        },
        columns_of);
    const std::vector<std::int64_t> slots{0, 1, 2, 3, 4, 5, 5, 4};
    const auto look = [&](const char* name, auto method) {
        fail_each(
            name, [&] { return index_of(some); },
            [&](const FingerIndex& index) {
                std::vector<float> values(slots.size());
                (index.*method)(probe, slots.data(), slots.size(), threads, no_poll, values.data());
                return values;
            },
            kNothing);
    };
    fail_each("FingerIndex::screen", [&] { return index_of(many); }, screened, kNothing);
    look("FingerIndex::sift", &FingerIndex::sift);
    look("FingerIndex::refine", &FingerIndex::refine);
    look("FingerIndex::compare", &FingerIndex::compare);

    const auto references = [&] {
        auto made = std::make_unique<References>();
        made->append(some.templates(), 1, no_poll);
        return made;
    };
    const auto scores_of = [&](const References& own) {
        std::vector<float> scores(own.size());
        own.compare(some.templates()[0], nullptr, own.size(), -1e9F, threads, no_poll, scores.data());
        for (float& score : scores) score = score == score ? score : -1e9F;  // NaN is equal to nothing
        return scores;
    };
    fail_each(
        "References::append", references,
        [&](References& own) { return own.append(few.templates(), threads, no_poll); }, scores_of);
    fail_each(
        "References::remove", references,
        [](References& own) {
            own.remove(1);
            return 0;
        },
        scores_of);
    fail_each("References::compare", references, scores_of, kNothing);

    const OwnColumns columns(*index_of(few));
    const auto tile = [&] {
        return std::make_unique<FingerTile>(columns.view(), columns.sizes.size(), threads, no_poll);
    };
    const std::vector<std::int64_t> limits(columns.sizes.size(), static_cast<std::int64_t>(columns.sizes.size()));
    fail_each("FingerTile", nothing, [&](int&) { return tile()->size(); }, kNothing);
    fail_each(
        "FingerTile::near", tile,
        [&](const FingerTile& own) {
            std::vector<float> found;
            for (const FingerPair& pair : own.near(own, 0, own.size(), limits.data(), 0, threads, no_poll))
                found.push_back(pair.evidence);
            return found;
        },
        kNothing);
    const std::vector<std::int64_t> first{0, 0, 1, 7}, second{1, 2, 3, 7};
    for (const auto method : {&FingerTile::refine, &FingerTile::compare}) {
        fail_each(
            "FingerTile::refine and compare", tile,
            [&](const FingerTile& own) {
                std::vector<float> values(first.size());
                (own.*method)(own, first.data(), second.data(), first.size(), threads, no_poll, values.data());
                return values;
            },
            kNothing);
    }

    const std::vector<std::int64_t> owners{3, 1, 4, 1, 5};
    const Owners<std::int64_t> run{2, nullptr, owners.size(), nullptr},
        scattered{0, owners.data(), owners.size(), nullptr};
    const auto given = [](Tally& tally, const Owners<std::int64_t>& own) {
        float* room = tally.room(own);
        for (std::size_t k = 0; k < own.count; ++k) room[k] = static_cast<float>(k);
        tally.add(own);
    };
    fail_each(
        "Tally", [] { return std::make_unique<Tally>(); },
        [&](Tally& tally) {
            tally.begin(10);
            tally.next_position();
            given(tally, run);
            tally.next_position();
            given(tally, scattered);
            return tally.largest(4, owners.data(), owners.size());
        },
        kNothing);
    std::puts("no operation loses anything by want of memory");
}
