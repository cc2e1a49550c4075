// A pool of threads that share out numbered tasks. One parallel section at a time; the caller works too.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace megaseg {

// Physical cores that this process may use: affinity, hyper-threads counted once, cgroup CPU quota.
int usable_cores();

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
  void join();
  void work(int thread);
  void drain(int thread);

  std::vector<std::thread>* workers_;  // leaked in a forked child, where the threads cannot be joined
  pid_t process_;
  const Task* task_ = nullptr;
  int count_ = 0;
  std::atomic<int> next_{0};
  std::atomic<int> busy_{0};
  std::atomic<std::uint32_t> round_{0};  // bumped to start a section
  std::atomic<bool> stop_{false};
};

}  // namespace megaseg
