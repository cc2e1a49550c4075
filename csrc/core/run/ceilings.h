// What this machine can do at most, measured: against that a profile holds what steps do.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "core/run/parallel.h"

namespace megaseg {

struct Ceilings {
  struct Memory {
    std::size_t bytes;  // that each thread goes through again and again
    double read;        // bytes a second of all threads
    double copied;      // bytes a second that are read, and as many written
  };

  std::vector<std::pair<cpu::Type, double>> products;  // of the target's types: operations a second of all threads
  std::vector<Memory> memory;                          // ascending sizes
};

// All threads at once, each by its own processor time; a tenth of a second a thread and type. Throws std::bad_alloc.
Ceilings measure_ceilings(Ops& ops);

}  // namespace megaseg
