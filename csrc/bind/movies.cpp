// Ops on lists of movies, on threads that stay.
#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "bind/ops.h"
#include "bind/session.h"
#include "core/pairs/window_pairs.h"
#include "core/platform/system.h"

namespace {

// Threads that stay: to start them would take as long as a movie. By process, since a fork leaves them behind.
template <typename F>
auto with_session(const std::string& target, int num_threads, const F& f) {
  static std::mutex mutex;
  static std::map<std::tuple<std::string, int, std::int64_t>, std::unique_ptr<Session>> sessions;
  const std::lock_guard lock(mutex);
  std::unique_ptr<Session>& session = sessions[{target, num_threads, megaseg::process_id()}];
  if (!session) session = std::make_unique<Session>(target, num_threads, std::initializer_list<Type>{});
  return f(*session);
}

// Writes out[m]; returns the movies with a similarity that is not finite.
std::vector<int> banded_estep(const std::vector<py::array>& shots, const std::vector<py::array>& sentences,
                              std::vector<py::array> out, const std::vector<std::int64_t>& reach, float threshold,
                              bool as_bits, const std::string& target, int num_threads) {
  const std::size_t count = shots.size();
  check(sentences.size() == count && out.size() == count && reach.size() == count, "banded_estep: lists of one length");
  std::vector<megaseg::cpu::BandedEstepArgs> movies;
  for (std::size_t m = 0; m < count; ++m) {
    const ConstRows u = rows_of(shots[m], "banded_estep: shots (L_sh, size) with contiguous rows");
    const ConstRows v = rows_of(sentences[m], "banded_estep: sentences (L_syn, size) with contiguous rows");
    const py::ssize_t rows = shots[m].shape(0);
    const py::ssize_t columns = sentences[m].shape(0);
    const py::ssize_t bytes = as_bits ? (columns + 7) / 8 : columns;
    check(shots[m].ndim() == 2 && sentences[m].ndim() == 2 && shots[m].shape(1) == sentences[m].shape(1) &&
              u.type == v.type && reach[m] > 0 && reach[m] <= rows * columns,
          "banded_estep: one width and type, reach in [1, L_sh L_syn]");
    check(out[m].ndim() == 2 && out[m].itemsize() == 1 && (out[m].flags() & py::array::c_style) != 0 &&
              out[m].shape(0) == rows && out[m].shape(1) == bytes,
          "banded_estep: out (L_sh, L_syn) or (L_sh, ceil(L_syn / 8)) contiguous bytes");
    movies.push_back({u, v, static_cast<std::uint8_t*>(out[m].mutable_data()), bytes, static_cast<int>(rows),
                      static_cast<int>(columns), size_of(shots[m], 1), reach[m], threshold, as_bits});
  }
  const py::gil_scoped_release release;
  return with_session(target, num_threads, [&](Session& session) {
    for (const auto& movie : movies) session.require({movie.shots.type});
    return session.ops.banded_estep(movies);
  });
}

// A tuple a pair of movies: first (pairs, 2), scores (pairs), and what is not finite or nothing.
std::vector<std::tuple<Ints, Floats, std::string>> scene_pairs(const std::vector<py::array>& us,
                                                               const std::vector<py::array>& vs,
                                                               const std::vector<std::int64_t>& candidates, int window,
                                                               const std::string& target, int num_threads) {
  check(us.size() == vs.size() && us.size() == candidates.size() && window > 0, "scene_pairs: lists of one length");
  std::vector<megaseg::WindowPairsArgs> movies;
  for (std::size_t m = 0; m < us.size(); ++m) {
    const ConstRows u = rows_of(us[m], "scene_pairs: us (rows, size) with contiguous rows");
    const ConstRows v = rows_of(vs[m], "scene_pairs: vs (rows, size) with contiguous rows");
    check(us[m].ndim() == 2 && vs[m].ndim() == 2 && us[m].shape(1) == vs[m].shape(1) && us[m].shape(1) > 0 &&
              u.type == v.type && us[m].shape(0) >= window && vs[m].shape(0) >= window,
          "scene_pairs: one width and type, at least `window` rows");
    const std::int64_t scores = (us[m].shape(0) - window + 1) * (vs[m].shape(0) - window + 1);
    check(candidates[m] > 0 && candidates[m] <= scores, "scene_pairs: candidates in [1, scores]");
    movies.push_back({u, v, size_of(us[m], 0), size_of(vs[m], 0), size_of(us[m], 1), window, candidates[m]});
  }
  const auto run = [&] {
    const py::gil_scoped_release release;
    return with_session(target, num_threads, [&](Session& session) {
      for (const auto& movie : movies) session.require({movie.u.type});
      return megaseg::window_pairs(session.ops.kernels(), session.ops.thread_pool(), movies);
    });
  };
  std::vector<std::tuple<Ints, Floats, std::string>> results;
  for (const megaseg::WindowPairs& pairs : run()) {
    const auto count = static_cast<py::ssize_t>(pairs.scores.size());
    results.emplace_back(Ints({count, py::ssize_t{2}}, pairs.first.data()), Floats(count, pairs.scores.data()),
                         pairs.not_finite);
  }
  return results;
}

}  // namespace

void bind_movies(py::module_& m) {
  using namespace py::literals;
  m.def("banded_estep", banded_estep, "shots"_a, "sentences"_a, "out"_a, py::kw_only(), "reach"_a, "threshold"_a,
        "as_bits"_a = false, "target"_a = "", "num_threads"_a = 1);
  m.def("scene_pairs", scene_pairs, "us"_a, "vs"_a, py::kw_only(), "candidates"_a, "window"_a, "target"_a = "",
        "num_threads"_a = 1);
}
