#include "core/platform/thread_pool.h"

#include <algorithm>
#include <exception>
#include <string>

#include "core/error.h"
#include "core/platform/system.h"

namespace megaseg {
namespace {

// Sections follow each other within microseconds; sleeping in between would cost more than the wait.
constexpr int kSpins = 4000;
constexpr std::chrono::microseconds kLate{200};       // no task waits so long for a core of its own
constexpr int kAlone = 16;                            // times as long as threads kept their caller waiting,
constexpr std::chrono::milliseconds kMostAlone{100};  // and no longer: it may have been once
constexpr int kLateShare = 4;                         // a quarter of the time
constexpr std::chrono::milliseconds kRecent{200};     // in sections: how far back that share is taken
constexpr int kMostThreads = 4096;                    // a mistake, not a machine

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");  // tens of cycles; yield is nothing to most cores
#endif
}

// A short wait for `value` to be no longer `old`; whether it is.
template <typename T>
bool spin_while(const std::atomic<T>& value, T old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return true;
    pause();
  }
  return false;
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) : workers_(new std::vector<std::thread>), process_(process_id()) {
  const int threads = num_threads > 0 ? num_threads : usable_cores();
  if (threads > kMostThreads) {
    throw Unsupported("num_threads: expected at most " + std::to_string(kMostThreads) + ", got " +
                      std::to_string(threads));
  }
  require_stacks();
  try {
    for (int thread = 1; thread < threads; ++thread) workers_->emplace_back([this, thread] { work(thread); });
  } catch (const std::exception&) {
    const std::string started = std::to_string(size());
    join();
    throw ResourceLimit("num_threads: expected at most " + started + ", as many as the system starts here, got " +
                        std::to_string(threads));
  }
}

ThreadPool::~ThreadPool() {
  if (process_id() == process_) {
    join();
  } else {
    static_cast<void>(workers_.release());
  }
}

void ThreadPool::join() {
  stop_ = true;
  section_.fetch_add(1, std::memory_order_release);
  section_.notify_all();
  for (std::thread& worker : *workers_) worker.join();
}

void ThreadPool::check_process() const {
  if (process_id() != process_) {
    throw Unsupported(
        "engine used in a forked process: its threads stayed with the parent; load the checkpoint after "
        "the fork, or start the process with the 'spawn' method");
  }
}

void ThreadPool::run(int count, const Task& task) {
  if (count <= 1 || workers_->empty() || alone()) {
    for (int i = 0; i < count; ++i) task(i, 0);
    return;
  }
  task_ = &task;
  count_ = count;
  done_.store(0, std::memory_order_relaxed);
  const std::uint32_t section = section_.load(std::memory_order_relaxed) + 1;
  unclaimed_.store(std::uint64_t{section} << 32 | static_cast<std::uint32_t>(count), std::memory_order_release);
  section_.store(section);
  if (asleep_.load() && asleep_.exchange(false)) section_.notify_all();  // once: a woken thread may come much later
  const Clock::time_point begin = Clock::now();
  const int own = drain(0);
  const Clock::time_point end = Clock::now();
  wait_for(count);
  note(Clock::now(), begin, end, own);
}

// Somebody else's task may take as long as two of one's own: past that, its thread does not run. Where that is a good
// part of the time, it is better to do without.
void ThreadPool::note(Clock::time_point now, Clock::time_point begin, Clock::time_point end, int own) {
  shared_ += now - begin;
  const Clock::duration late = now - end;
  if (own > 0 && late > kLate + 2 * (end - begin) / own) {
    late_ += late;
    if (kLateShare * late_ > shared_) {
      alone_until_ = now + std::min<Clock::duration>(kAlone * late_, kMostAlone);
      shared_ = late_ = {};
    }
  }
  if (shared_ > kRecent) {
    shared_ /= 2;
    late_ /= 2;
  }
}

void ThreadPool::wait_for(int count) {
  for (int done = done_.load(std::memory_order_acquire); done != count; done = done_.load(std::memory_order_acquire)) {
    if (!spin_while(done_, done)) done_.wait(done, std::memory_order_acquire);
  }
}

bool ThreadPool::alone() {
  if (alone_until_ == Clock::time_point{}) return false;
  if (Clock::now() < alone_until_) return true;
  alone_until_ = {};
  return false;
}

void ThreadPool::work(int thread) {
  std::uint32_t seen = 0;
  while (true) {
    if (!spin_while(section_, seen)) {
      asleep_.store(true);  // before section_ is read again, as the caller writes it before it reads this
      section_.wait(seen);
    }
    seen = section_.load(std::memory_order_acquire);
    if (stop_) return;
    drain(thread);
  }
}

// Returns how many tasks it has done.
int ThreadPool::drain(int thread) {
  int done = 0;
  int count = 0;
  std::uint64_t open = unclaimed_.load(std::memory_order_acquire);
  while (const int left = static_cast<int>(open & UINT32_MAX)) {
    if (!unclaimed_.compare_exchange_weak(open, open - 1, std::memory_order_acquire)) continue;
    count = count_;
    (*task_)(count - left, thread);
    ++done;
    --open;
  }
  if (done > 0 && done_.fetch_add(done, std::memory_order_acq_rel) + done == count) done_.notify_all();
  return done;
}

}  // namespace megaseg
