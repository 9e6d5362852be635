// SPDX-License-Identifier: Apache-2.0
// Memory in large pages, where the system has them: random reads over gigabytes then miss the TLB less often.
#pragma once

#include <memory_resource>

namespace abis {

// For blocks of megabytes, say those of a std::pmr::monotonic_buffer_resource; smaller ones come from operator new.
std::pmr::memory_resource* large_pages();

}  // namespace abis
