// Every task once, whatever the sections and threads; and a caller that goes on alone. Run again under ThreadSanitizer.
#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "core/platform/thread_pool.h"

namespace {

using megaseg::ThreadPool;

// Plain counters: ThreadSanitizer sees a task of one section that meets another section.
void test_sections(int threads) {
  std::mt19937 random(static_cast<unsigned>(threads));
  ThreadPool pool(threads);
  CHECK(pool.size() == threads);
  std::vector<int> runs;
  for (int section = 0; section < 3000; ++section) {
    const int count = static_cast<int>(random() % 12);
    const bool slow = random() % 64 == 0;
    runs.assign(static_cast<std::size_t>(count), 0);
    pool.run(count, [&](int index, int thread) {
      if (slow) std::this_thread::sleep_for(std::chrono::microseconds(300));
      if (thread >= 0 && thread < threads) ++runs[static_cast<std::size_t>(index)];
    });
    CHECK(runs == std::vector<int>(static_cast<std::size_t>(count), 1));
  }
}

void test_a_caller_that_was_kept_waiting_goes_on_alone() {
  ThreadPool pool(2);
  std::atomic<bool> claimed{false};
  pool.run(2, [&](int, int thread) {
    if (thread == 0) {
      while (!claimed) std::this_thread::yield();
    } else {
      claimed = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(200));  // as if something else had its core
    }
  });
  std::atomic<int> alone{0};
  pool.run(8, [&](int, int thread) { alone += thread == 0; });
  CHECK(alone == 8);
  // But not for long after that once: 16 times as long would be 3 s.
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  std::atomic<int> others{0};
  for (int section = 0; section < 100 && others == 0; ++section) {
    pool.run(8, [&](int, int thread) {
      others += thread != 0;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
  }
  CHECK(others > 0);
}

// As much as a kernel keeps on its thread's stack, and more.
void test_stacks_have_room() {
  ThreadPool pool(2);
  std::atomic<int> claimed{0};
  std::atomic<int> sum{0};
  pool.run(2, [&](int, int) {
    volatile char room[400 << 10];
    for (std::size_t i = 0; i < sizeof room; i += 1024) room[i] = 1;
    ++claimed;
    while (claimed < 2) std::this_thread::yield();
    for (std::size_t i = 0; i < sizeof room; i += 1024) sum += room[i];
  });
  CHECK(sum == 800);
}

void test_what_cannot_be_started() {
  try {
    const ThreadPool pool(1 << 20);
    CHECK(false);
  } catch (const megaseg::Unsupported&) {
  }
}

}  // namespace

int main() {
  for (const int threads : {1, 2, 3, 8}) test_sections(threads);
  test_a_caller_that_was_kept_waiting_goes_on_alone();
  test_stacks_have_room();
  test_what_cannot_be_started();
  return failures == 0 ? 0 : 1;
}
