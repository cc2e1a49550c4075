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
  test_what_cannot_be_started();
  return failures == 0 ? 0 : 1;
}
