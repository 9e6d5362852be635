// SPDX-License-Identifier: Apache-2.0
// Every class of the core under several threads at once, as far as its documentation allows; for ThreadSanitizer.
#include <atomic>
#include <cstdio>
#include <stdexcept>
#include <thread>

#include "columns.h"
#include "core/parallel.h"
#include "fingerprint/references.h"
#include "made_up.h"
#include "search/finger_index.h"
#include "search/finger_tile.h"
#include "search/tally.h"

using namespace abis;
using namespace abis::made_up;

namespace {

// Runs the function in several threads, which begin together.
template <class Function>
void together(const Function& function) {
    constexpr unsigned kThreads = 4;
    std::atomic<unsigned> ready{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            ++ready;
            while (ready < kThreads) std::this_thread::yield();
            function(t);
        });
    }
    for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main() {
    const Fingers fingers(60, 5, 1);
    const auto& templates = fingers.templates();
    std::atomic<int> faults{0};

    together([&](unsigned t) {  // loops within loops, from many threads, with exceptions
        for (int round = 0; round < 50; ++round) {
            std::atomic<std::size_t> sum{0};
            try {
                for_blocks(
                    64, 3, 2 + t,
                    [&](std::size_t begin, std::size_t end, unsigned) {
                        for_blocks(end - begin, 1, 2, [&](std::size_t, std::size_t, unsigned) { ++sum; }, no_poll);
                        if (round % 5 == 4 && begin > 30) throw std::runtime_error("on purpose");
                    },
                    no_poll);
                faults += sum != 64 || round % 5 == 4;
            } catch (const std::runtime_error&) {
                faults += round % 5 != 4;
            }
        }
    });

    References references;
    references.append(templates, 3, no_poll);
    FingerIndex index;
    index.append(templates, 3, no_poll);
    const OwnColumns columns(index);
    const FingerTile tile(columns.view(), columns.sizes.size(), 3, no_poll);
    const std::size_t n = templates.size();
    const std::vector<std::int64_t> limits(n, static_cast<std::int64_t>(n)), slots{3, 1, 4, 1, 5, 9, 2, 6};
    const auto expected = tile.memory_bytes();
    together([&](unsigned t) {
        const FingerProbe probe(templates[t]);
        std::vector<float> values(n);
        references.compare(templates[t], nullptr, n, 0, 2, no_poll, values.data());
        screen(index, probe, 2, values.data());
        index.sift(probe, slots.data(), slots.size(), 2, no_poll, values.data());
        index.refine(probe, slots.data(), slots.size(), 2, no_poll, values.data());
        index.compare(probe, slots.data(), slots.size(), 2, no_poll, values.data());
        faults += OwnColumns(index) != columns;
        faults += tile.memory_bytes() < expected;
        faults += tile.near(tile, 0, n, limits.data(), 0, 2, no_poll).size() < n;
        tile.refine(tile, slots.data(), slots.data(), slots.size(), 2, no_poll, values.data());
        tile.compare(tile, slots.data(), slots.data(), slots.size(), 2, no_poll, values.data());
        Tally tally;
        tally.begin(n);
        tally.next_position();
        const Owners<std::uint32_t> owners{0, nullptr, n, nullptr};
        screen(index, probe, 2, tally.room(owners));
        tally.add(owners);
        const auto best = tally.largest(1, nullptr, 0);
        faults += best.size() != 1 || best[0] / 5 != t / 5;
    });
    std::printf("%d faults\n", faults.load());
    return faults != 0;
}
