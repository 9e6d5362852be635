// SPDX-License-Identifier: Apache-2.0
// A loop over many items on several threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

namespace abis {

// How many threads `threads` asks for: itself, or one a core that the caller may run on where it is 0.
unsigned thread_count(unsigned threads);

// Calls body(begin, end, worker) for blocks that cover [0, count), from worker threads 0 to threads - 1; the
// calling thread is worker 0. It also calls poll() between its blocks, and no later than a block after poll()
// or a body throws, all workers stop and the first exception is thrown again here.
void for_blocks(std::size_t count, std::size_t block, unsigned threads,
                const std::function<void(std::size_t begin, std::size_t end, unsigned worker)>& body,
                const std::function<void()>& poll);

// The same with body(begin, end, workspace): each worker has a Workspace of its own, made for its first block. Of few
// blocks, fewer threads are used than `threads` asks for.
template <class Workspace, class Body>
void for_blocks_with(std::size_t count, std::size_t block, unsigned threads, const Body& body,
                     const std::function<void()>& poll) {
    threads = std::min(thread_count(threads), static_cast<unsigned>(count / block + 1));
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
