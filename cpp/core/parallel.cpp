// SPDX-License-Identifier: Apache-2.0
#include "core/parallel.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <exception>
#include <mutex>
#include <thread>

namespace abis {
namespace {

// One loop: what its workers share. It lies on the stack of the thread that called for_blocks.
class Loop {
public:
    Loop(std::size_t count, std::size_t block, const std::function<void(std::size_t, std::size_t, unsigned)>& body,
         const std::function<void()>& poll)
        : count_(count), block_(block), body_(body), poll_(poll) {}

    void work(unsigned worker) noexcept {
        try {
            for (;;) {
                const std::size_t begin = next_.fetch_add(block_);
                if (begin >= count_) return;
                body_(begin, std::min(begin + block_, count_), worker);
                if (worker == 0) poll_();
            }
        } catch (...) {
            const std::lock_guard lock(mutex_);
            if (!failure_) failure_ = std::current_exception();
            next_ = count_;
        }
    }
    void rethrow() const {
        if (failure_) std::rethrow_exception(failure_);
    }

    // Guarded by the mutex of the team.
    Loop* next = nullptr;  // that waits for helpers
    unsigned wanted = 0;   // helpers that may still join
    unsigned joined = 0;   // helpers so far
    unsigned at_work = 0;  // of them

private:
    std::size_t count_, block_;
    const std::function<void(std::size_t, std::size_t, unsigned)>& body_;
    const std::function<void()>& poll_;
    std::atomic<std::size_t> next_{0};
    std::mutex mutex_;
    std::exception_ptr failure_;
};

// Threads that help with loops and otherwise sleep, as many as the loop that asked for most. They are never joined:
// asleep they hold nothing, and the team is never destroyed.
class Team {
public:
    // Works off the loop with up to `helpers` threads besides the caller's.
    void work(Loop& loop, unsigned helpers) {
        if (helpers > 0) announce(loop, helpers);
        loop.work(0);
        if (helpers > 0) dismiss(loop);
    }

private:
    void announce(Loop& loop, unsigned helpers) {
        const std::lock_guard lock(mutex_);
        ++callers_;
        loop.wanted = helpers;
        loop.next = first_;
        first_ = &loop;
        while (size_ < helpers && start()) ++size_;
        for (unsigned k = 0; k < std::min(helpers, size_); ++k) work_.notify_one();
    }

    // No helper joins the loop any more; waits for those at work.
    void dismiss(Loop& loop) {
        std::unique_lock lock(mutex_);
        loop.wanted = 0;
        Loop** link = &first_;
        while (*link != nullptr && *link != &loop) link = &(*link)->next;
        if (*link != nullptr) *link = loop.next;
        done_.wait(lock, [&] { return loop.at_work == 0; });
        --callers_;
        if (first_ != nullptr) work_.notify_one();
    }

    // Whether there is one thread more; none if the system or the memory gives none.
    bool start() noexcept {
        sigset_t all, before;  // signals are for the threads that the program made itself
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        bool started = true;
        try {
            std::thread([this] { help(); }).detach();
        } catch (...) {
            started = false;
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        return started;
    }

    void help() {
        std::unique_lock lock(mutex_);
        for (;;) {
            // Callers work, too: several at once need no more threads than one.
            work_.wait(lock, [&] { return first_ != nullptr && callers_ + at_work_ <= size_; });
            Loop& loop = *first_;
            ++loop.at_work;
            ++at_work_;
            const unsigned worker = ++loop.joined;
            if (--loop.wanted == 0) first_ = loop.next;
            lock.unlock();
            loop.work(worker);
            lock.lock();
            --at_work_;
            if (--loop.at_work == 0) done_.notify_all();  // the last that is seen of the loop here
        }
    }

    std::mutex mutex_;
    std::condition_variable work_, done_;
    Loop* first_ = nullptr;  // loops that want helpers, the last that came first
    unsigned size_ = 0;      // threads of the team
    unsigned at_work_ = 0;   // of them
    unsigned callers_ = 0;   // threads that work off loops of their own
};

// The team of this process. A child process that was forked has none of the threads, and may find the mutex locked: it
// gets a team of its own.
Team& team() {
    struct Owned {
        Team team;
        pid_t owner = getpid();
    };
    static std::atomic<Owned*> current{nullptr};
    Owned* own = current.load(std::memory_order_acquire);
    if (own != nullptr && own->owner == getpid()) return own->team;
    auto made = std::make_unique<Owned>();
    if (current.compare_exchange_strong(own, made.get(), std::memory_order_acq_rel)) return made.release()->team;
    return own->team;  // another thread was quicker
}

}  // namespace

unsigned thread_count(unsigned threads) { return threads > 0 ? threads : available_cores(); }

void for_blocks(std::size_t count, std::size_t block, unsigned threads,
                const std::function<void(std::size_t, std::size_t, unsigned)>& body,
                const std::function<void()>& poll) {
    if (count == 0) return;
    Loop loop(count, block, body, poll);
    const std::size_t workers = std::min<std::size_t>((count - 1) / block + 1, thread_count(threads));
    if (workers == 1) {
        loop.work(0);
    } else {
        team().work(loop, static_cast<unsigned>(workers - 1));
    }
    loop.rethrow();
}

}  // namespace abis
