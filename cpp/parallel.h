// SPDX-License-Identifier: Apache-2.0
// A loop over many items on several threads.
#pragma once

#include <cstddef>
#include <functional>

namespace abis {

// How many threads `threads` asks for: itself, or one a core where it is 0.
unsigned thread_count(unsigned threads);

// Calls body(begin, end, worker) for blocks that cover [0, count), from worker threads 0 to threads - 1; the
// calling thread is worker 0. It also calls poll() between its blocks, and no later than a block after poll()
// or a body throws, all workers stop and the first exception is thrown again here.
void for_blocks(std::size_t count, std::size_t block, unsigned threads,
                const std::function<void(std::size_t begin, std::size_t end, unsigned worker)>& body,
                const std::function<void()>& poll);

}  // namespace abis
