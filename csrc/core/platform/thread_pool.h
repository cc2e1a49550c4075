// A pool of threads that share out numbered tasks. One parallel section at a time; the caller works too, and waits for
// tasks, not for threads: one that has not come yet, since something else has its core, holds nobody up. Where
// threads are often stopped in the middle of a task, the caller goes on alone for a while.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace megaseg {

class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);  // 0: usable_cores(). Throws ResourceLimit: threads that cannot be started
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_->size()) + 1; }

  // Throws Unsupported in a forked child: the pool's threads stayed with the parent.
  void check_process() const;

  // task(index, thread) for every index in [0, count), thread in [0, size()). Tasks must not throw.
  using Task = std::function<void(int index, int thread)>;
  void run(int count, const Task& task);

 private:
  using Clock = std::chrono::steady_clock;

  void join();
  void work(int thread);
  int drain(int thread);
  void wait_for(int count);
  bool alone();
  void note(Clock::time_point now, Clock::time_point begin, Clock::time_point end, int own);

  std::unique_ptr<std::vector<std::thread>> workers_;  // leaked in a forked child, where threads cannot be joined
  std::int64_t process_;
  std::atomic<std::uint32_t> section_{0};  // its number, and where workers wait for the next
  std::atomic<bool> asleep_{false};        // some of them sleep, and nobody has woken them yet
  // The section's number, and below it 32 bits with how many tasks are left to claim: a thread that comes late cannot
  // claim one of another section. What a section is, a thread reads only while it has claimed one of its tasks.
  std::atomic<std::uint64_t> unclaimed_{0};
  std::atomic<int> done_{0};  // of its tasks
  const Task* task_ = nullptr;
  int count_ = 0;
  Clock::duration shared_{};         // recent time in sections
  Clock::duration late_{};           // of it, waiting for threads that stood still
  Clock::time_point alone_until_{};  // the caller works by itself: its threads have no cores of their own
  std::atomic<bool> stop_{false};
};

}  // namespace megaseg
