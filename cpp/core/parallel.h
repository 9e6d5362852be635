// SPDX-License-Identifier: Apache-2.0
// A loop over many items on several threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

namespace abis {

// CPU cores that this process may use, 1 or more: those that the calling thread may run on, but no more than the CPU
// quota of its control group pays for (Linux cgroups, version 2 or 1). `root` is where /proc and /sys are found.
unsigned available_cores(const std::filesystem::path& root = "/");

// How many threads `threads` asks for: itself, or one for each available core where it is 0.
unsigned thread_count(unsigned threads);

// Calls body(begin, end, worker) for blocks that cover [0, count), from workers 0 to thread_count(threads) - 1. The
// calling thread is worker 0; the others are threads that are kept for the next loop. Where no thread can be started,
// fewer do the same work. Worker 0 also calls poll() between its blocks; no later than a block after poll() or a body
// throws, all workers stop and the first exception is thrown again here. Any number of threads may call this at once;
// they share the threads that are kept.
void for_blocks(std::size_t count, std::size_t block, unsigned threads,
                const std::function<void(std::size_t begin, std::size_t end, unsigned worker)>& body,
                const std::function<void()>& poll);

// The same with body(begin, end, workspace): each worker has a Workspace of its own, made for its first block. Of few
// blocks, fewer threads are used than `threads` asks for.
template <class Workspace, class Body>
void for_blocks_with(std::size_t count, std::size_t block, unsigned threads, const Body& body,
                     const std::function<void()>& poll) {
    threads = static_cast<unsigned>(std::min<std::size_t>(thread_count(threads), count / block + 1));
    std::vector<std::unique_ptr<Workspace>> workspaces(threads);
    for_blocks(
        count, block, threads,
        [&](std::size_t begin, std::size_t end, unsigned worker) {
            auto& own = workspaces[worker];
            if (!own) own = std::make_unique_for_overwrite<Workspace>();
            body(begin, end, *own);
        },
        poll);
}

}  // namespace abis
