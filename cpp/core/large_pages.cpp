// SPDX-License-Identifier: Apache-2.0
#include "core/large_pages.h"

#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace abis {
namespace {

constexpr std::size_t kLargePage = std::size_t{1} << 21;  // x86-64, and AArch64 with small pages of 4 KiB

class LargePages : public std::pmr::memory_resource {
    void* do_allocate(std::size_t bytes, std::size_t alignment) override {
        if (bytes < kLargePage) return ::operator new(bytes, std::align_val_t{alignment});
        if (bytes > std::numeric_limits<std::size_t>::max() - kLargePage) throw std::bad_alloc();
        const std::size_t whole = (bytes + kLargePage - 1) / kLargePage * kLargePage;
        void* memory = std::aligned_alloc(kLargePage, whole);
        if (memory == nullptr) throw std::bad_alloc();
#ifdef __linux__
        madvise(memory, whole, MADV_HUGEPAGE);  // advice, which the system may ignore
#endif
        return memory;
    }

    void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override {
        if (bytes < kLargePage) {
            ::operator delete(memory, std::align_val_t{alignment});
        } else {
            std::free(memory);
        }
    }

    bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }
};

}  // namespace

std::pmr::memory_resource* large_pages() {
    static LargePages all;
    return &all;
}

}  // namespace abis
