// SPDX-License-Identifier: Apache-2.0
#include "core/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>
#ifdef __linux__
#include <sched.h>
#endif

namespace abis {

namespace {

// Cores that this thread may run on; more threads than that would only wait for each other.
unsigned cores() {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<unsigned>(CPU_COUNT(&set));
#endif
    return std::max(1U, std::thread::hardware_concurrency());
}

}  // namespace

unsigned thread_count(unsigned threads) { return threads > 0 ? threads : cores(); }

void for_blocks(std::size_t count, std::size_t block, unsigned threads,
                const std::function<void(std::size_t, std::size_t, unsigned)>& body,
                const std::function<void()>& poll) {
    std::atomic<std::size_t> next{0};
    std::mutex mutex;
    std::exception_ptr failure;
    const auto work = [&](unsigned worker) {
        try {
            for (;;) {
                const std::size_t begin = next.fetch_add(block);
                if (begin >= count) return;
                body(begin, std::min(begin + block, count), worker);
                if (worker == 0) poll();
            }
        } catch (...) {
            const std::lock_guard lock(mutex);
            if (!failure) failure = std::current_exception();
            next = count;
        }
    };
    const std::size_t blocks = (count + block - 1) / block;
    std::vector<std::thread> helpers;
    for (unsigned worker = 1; worker < std::min<std::size_t>(threads, blocks); ++worker) {
        try {
            helpers.emplace_back(work, worker);
        } catch (const std::system_error&) {
            break;  // no more threads to be had: fewer do the same work
        }
    }
    work(0);
    for (std::thread& helper : helpers) helper.join();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace abis
