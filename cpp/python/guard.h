// SPDX-License-Identifier: Apache-2.0
// Guards of objects that Python may use from several threads at once. The classes of the core leave it to the caller
// that no thread uses an object while another changes it.
#pragma once

#include <atomic>
#include <stdexcept>

namespace abis {

// T, and how many threads are using it.
template <class T>
struct Guarded : T {
    using T::T;
    mutable std::atomic<int> users{0};  // readers, or -1 while the object is changed
};

// For as long as it lives the object is not changed. Throws std::runtime_error where it is being changed.
class Reading {
public:
    template <class T>
    explicit Reading(const Guarded<T>& object) : users_(object.users) {
        int before = users_.load(std::memory_order_relaxed);
        do {
            if (before < 0) throw std::runtime_error("another thread is changing this object; use it afterwards");
        } while (!users_.compare_exchange_weak(before, before + 1, std::memory_order_acquire));
    }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;
    ~Reading() { users_.fetch_sub(1, std::memory_order_release); }

private:
    std::atomic<int>& users_;
};

// For as long as it lives nothing else uses the object. Throws std::runtime_error where something does.
class Changing {
public:
    template <class T>
    explicit Changing(Guarded<T>& object) : users_(object.users) {
        int none = 0;
        if (!users_.compare_exchange_strong(none, -1, std::memory_order_acquire))
            throw std::runtime_error("another thread is using this object; change it afterwards");
    }
    Changing(const Changing&) = delete;
    Changing& operator=(const Changing&) = delete;
    ~Changing() { users_.store(0, std::memory_order_release); }

private:
    std::atomic<int>& users_;
};

}  // namespace abis
