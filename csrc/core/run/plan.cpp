#include "core/run/plan.h"

#include <set>
#include <stdexcept>

#include "core/error.h"
#include "core/platform/target.h"

namespace megaseg {
namespace {

// Rows are counted in ints: of all tokens of a chunk, and of all movies of a run.
constexpr long kMostTokens = 1L << 24;
constexpr int kMostShots = 1 << 30;

Program program_of(const Artefact& artefact) {
  try {
    return read_program(artefact.program(), artefact.weights());
  } catch (const BadArtefact& error) {
    throw BadArtefact(artefact.path() + ": " + error.what());
  }
}

const cpu::KernelTable& kernels_of(const Artefact& artefact, const Program& program) {
  const std::vector<std::string> here = available_targets();
  std::string listed;
  for (const std::string& name : here) {
    if (name == program.target) return kernels(name);
    listed += (listed.empty() ? "" : ", ") + name;
  }
  throw Unsupported(artefact.path() + ": compiled for target " + program.target + "; this machine and build offer " +
                    listed + ": compile the checkpoint again here");
}

}  // namespace

Plan::Plan(const std::string& path, const Options& options)
    : artefact_(path), program_(program_of(artefact_)), ops_(kernels_of(artefact_, program_), options.num_threads) {
  try {
    check_program(program_, ops_.kernels());
    if (program_.most_prefix() + static_cast<long>(program_.sequences.length) > kMostTokens) {
      throw ResourceLimit(path + ": expected at most " + std::to_string(kMostTokens) + " tokens in a sequence");
    }
    executor_ = std::make_unique<Executor>(program_, ops_);
  } catch (const BadArtefact& error) {
    throw BadArtefact(path + ": " + error.what());
  }
  if (options.memory_limit == 0) return;
  const std::size_t weights = weight_bytes();
  const std::size_t left = options.memory_limit > weights ? options.memory_limit - weights : 0;
  if (!executor_->fit(left)) {
    throw ResourceLimit("memory_limit: expected at least " + std::to_string(weights + workspace_bytes()) +
                        " bytes for this model's weights and smallest workspace, got " +
                        std::to_string(options.memory_limit));
  }
}

int Plan::longest() const { return program_.sequences.windowed() ? kMostShots : program_.sequences.length; }

void Plan::run(std::span<const Movie> movies, std::span<const Destination> destinations, Profile* profile) {
  ops_.thread_pool().check_process();
  const std::lock_guard<std::mutex> lock(turn_);
  check(movies);
  artefact_.require_unchanged();
  const double begin = profile ? profile->now() : 0;
  executor_->run(movies, workspace_, destinations, profile);
  if (profile) profile->seconds += profile->now() - begin;
  artefact_.require_unchanged();
}

Ceilings Plan::ceilings() {
  ops_.thread_pool().check_process();
  const std::lock_guard<std::mutex> lock(turn_);
  return measure_ceilings(ops_);
}

// Windows that there are, and every cache made here and given once: what caches have is known only now.
void Plan::check(std::span<const Movie> movies) const {
  const bool windowed = program_.sequences.windowed();
  std::set<const RowCache*> caches;
  for (std::size_t i = 0; i < movies.size(); ++i) {
    const Movie& movie = movies[i];
    const auto require = [i](bool fits, const std::string& what) {
      if (!fits) throw std::invalid_argument("excerpts[" + std::to_string(i) + "]: expected " + what);
    };
    if (movie.cache) {
      require(executor_->made(*movie.cache), "a cache of this model");
      require(caches.insert(movie.cache).second, "a cache of its own, got that of another excerpt");
    }
    const long shots = static_cast<long>(movie.shots) + (movie.cache ? movie.cache->shots() : 0);
    require(shots >= 1 && shots <= longest(),
            "from 1 to " + std::to_string(longest()) + " shots, got " + std::to_string(shots));
    require(0 <= movie.first && movie.first < movie.last && movie.last <= shots,
            "0 <= first < last <= " + std::to_string(shots) + " shots, got first " + std::to_string(movie.first) +
                ", last " + std::to_string(movie.last));
    const int most = program_.has_source() ? kMostSourceRows : 0;
    require(
        most == 0 || (movie.source_rows >= 1 && movie.source_rows <= most),
        "from 1 to " + std::to_string(most) + " rows of the second stream, got " + std::to_string(movie.source_rows));
    require(windowed || (movie.first == 0 && movie.last == shots), "a whole movie, the model sees no less");
  }
}

}  // namespace megaseg
