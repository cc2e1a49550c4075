// A compiled model made ready to run: its weights in the mapped file, a thread pool, a bounded workspace.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "core/artefact.h"
#include "core/run/ceilings.h"
#include "core/run/executor.h"

namespace megaseg {

struct Options {
  int num_threads = 0;           // 0: physical cores that the process may use
  std::size_t memory_limit = 0;  // bytes of weights and workspace together; 0: none
};

class Plan {
 public:
  // Throws BadArtefact, Unsupported (compiled for a target that is not here), ResourceLimit, std::bad_alloc.
  Plan(const std::string& path, const Options& options);

  // Every movie has all inputs and from 1 to longest() shots. May be called from any thread; calls take turns.
  // Results depend neither on num_threads and memory_limit nor on which movies run together, nor on which of their rows
  // were cached. Throws std::invalid_argument where a movie's numbers or cache do not fit, BadFeatures where outputs
  // are not finite or ids have no row, Unsupported in a process forked after construction, BadArtefact once the file
  // was written to. `profile`, if any, gets the time of this run and of its steps.
  void run(std::span<const Movie> movies, std::span<const Destination> destinations, Profile* profile = nullptr);

  // An empty cache for one movie whose shots come bit by bit; the plan outlives it. None where the program caches
  // nothing.
  std::unique_ptr<RowCache> new_cache() const { return executor_->new_cache(); }

  // What this machine can do at most on the plan's threads.
  Ceilings ceilings();

  const Program& program() const { return program_; }
  const Artefact& artefact() const { return artefact_; }
  int num_threads() const { return ops_.threads(); }
  int longest() const;
  std::size_t weight_bytes() const { return artefact_.weights().size(); }
  // The most workspace that any run takes, whatever the movies.
  std::size_t workspace_bytes() const { return executor_->workspace_bytes(); }

 private:
  void check(std::span<const Movie> movies) const;

  Artefact artefact_;
  Program program_;
  Ops ops_;
  std::unique_ptr<Executor> executor_;
  std::mutex turn_;   // one run at a time has the threads and the workspace
  Buffer workspace_;  // as large as the largest run so far needed
};

}  // namespace megaseg
