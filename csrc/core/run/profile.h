// Where the time of runs goes, step by step.
#pragma once

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace megaseg {

// What a step does at least: multiplications and additions of its products, and bytes that it reads and writes once.
struct Cost {
  std::int64_t rows = 0;  // of the result
  double operations = 0;
  double read = 0;  // of rows
  double written = 0;
  double weights = 0;
};

class Profile {
 public:
  struct Step {
    int calls = 0;
    double seconds = 0;
    Cost cost;
  };

  // By CLOCK_MONOTONIC, or CLOCK_PROCESS_CPUTIME_ID: of all threads together.
  explicit Profile(clockid_t clock) : clock_(clock) {}

  double now() const {
    timespec time;
    clock_gettime(clock_, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
  void add(std::size_t step, double taken, const Cost& cost) {
    if (steps.size() <= step) steps.resize(step + 1);
    Step& own = steps[step];
    own.calls += 1;
    own.seconds += taken;
    own.cost.rows += cost.rows;
    own.cost.operations += cost.operations;
    own.cost.read += cost.read;
    own.cost.written += cost.written;
    own.cost.weights += cost.weights;
  }

  std::vector<Step> steps;  // of the program, up to the last that ran
  double seconds = 0;       // of whole runs

 private:
  clockid_t clock_;
};

}  // namespace megaseg
