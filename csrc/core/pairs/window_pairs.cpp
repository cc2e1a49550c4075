#include "core/pairs/window_pairs.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <numeric>
#include <queue>

#include "core/pairs/candidates.h"
#include "core/pairs/scores.h"

namespace megaseg {
namespace {

using cpu::BestColumn;
using cpu::kScoreBlock;

constexpr float kNone = -std::numeric_limits<float>::infinity();
constexpr int kFewestRows = 32;  // whose bests are brought up to date at a time, and at most
constexpr int kMostRows = 96;
constexpr int kPiece = 24;          // of them in a task
constexpr int kTasksPerThread = 4;  // enough to even out their lengths
constexpr int kMostGroups = 64;     // of blocks, whose best column is known: the table grows with the rows alone

int ceil_div(int a, int b) { return (a + b - 1) / b; }
std::size_t count_of(int n) { return static_cast<std::size_t>(n); }

// The greedy choice. Of every row and group of blocks of columns the best column is known. That column may be taken
// meanwhile: its score then bounds what is left of the group, which is multiplied again once no row has a better one.
class Greedy {
 public:
  Greedy(const Scores& scores, const WindowPairsArgs& args)
      : scores_(scores),
        window_(args.window),
        candidates_(args.candidates, std::int64_t{scores.rows()} * scores.columns(), scores.crew().size()),
        group_size_(ceil_div(scores.blocks(), kMostGroups)),
        groups_(ceil_div(scores.blocks(), group_size_)),
        best_(count_of(scores.rows()) * count_of(groups_)),
        row_free_(count_of(scores.rows()), true) {
    for (int block = 0; block < scores.blocks(); ++block) free_.push_back(scores.all_of(block));
  }

  WindowPairs run();

 private:
  struct Row {
    float score;
    int row;
    bool operator<(const Row& other) const { return score != other.score ? score < other.score : row > other.row; }
  };
  struct Pair {
    int row;
    int column;
    float score;
  };
  struct Entry {
    int group;
    int row;
    bool operator<(const Entry& other) const { return group != other.group ? group < other.group : row < other.row; }
  };
  struct Piece {
    std::size_t begin;
    std::size_t end;
  };

  BestColumn* best(int row, int group) { return &best_[count_of(row) * count_of(groups_) + count_of(group)]; }
  int first_block(int group) const { return std::min(group * group_size_, scores_.blocks()); }
  const BestColumn& best_of(int row);
  bool is_free(int column) const { return free_[count_of(column / kScoreBlock)] >> column % kScoreBlock & 1; }
  void pass(bool keep_best);
  void choose();
  void take(int row, const BestColumn& column);
  void update();
  void multiply(std::vector<Entry>& stale);
  static void keep(const BestColumn& found, bool first, BestColumn& best);

  const Scores& scores_;
  int window_;
  Candidates candidates_;
  int group_size_;  // blocks
  int groups_;
  std::vector<BestColumn> best_;     // [rows, groups]
  std::vector<char> row_free_;       // [rows]
  std::vector<std::uint64_t> free_;  // columns of every block
  std::priority_queue<Row> rows_;    // by their best
  std::vector<Pair> pairs_;
  std::atomic<bool> finite_{true};
};

WindowPairs Greedy::run() {
  if (*scores_.not_finite()) return {{}, {}, scores_.not_finite()};
  candidates_.expect(scores_.sample());
  pass(true);
  if (!finite_) return {{}, {}, "similarities"};
  choose();
  // From the last pair on: the first ones are far above the lowest candidate.
  while (!pairs_.empty() && !candidates_.decided(pairs_.back().score)) {
    pass(false);
    while (!pairs_.empty() && !candidates_.includes(pairs_.back().score)) pairs_.pop_back();
  }
  WindowPairs result;
  for (const Pair& pair : pairs_) {
    result.first.insert(result.first.end(), {pair.row, pair.column});
    result.scores.push_back(pair.score / (static_cast<float>(window_) * static_cast<float>(window_)));
  }
  return result;
}

// All scores: counted, and if asked for the best ones kept.
void Greedy::pass(bool keep_best) {
  const int row_blocks = ceil_div(scores_.rows(), Scores::kRows);
  const int parts = std::clamp(ceil_div(kTasksPerThread * scores_.crew().size(), row_blocks), 1, groups_);
  scores_.crew().run(row_blocks * parts, [&](int task, int thread) {
    const int begin = task / parts * Scores::kRows;
    const int count = std::min(Scores::kRows, scores_.rows() - begin);
    const int part = task % parts;
    const int end = first_block(groups_ * (part + 1) / parts);
    for (int block = first_block(groups_ * part / parts); block < end; ++block) {
      BestColumn found[Scores::kRows];
      const cpu::ScoreBlockArgs args{scores_.block(block, begin, count, thread),
                                     scores_.all_of(block),
                                     block * kScoreBlock,
                                     keep_best ? found : nullptr,
                                     1,
                                     candidates_.counts(thread)};
      if (!scores_.kernels().score_block(args, count)) finite_ = false;
      const int group = block / group_size_;
      for (int i = 0; keep_best && i < count; ++i) keep(found[i], block == first_block(group), *best(begin + i, group));
    }
  });
  candidates_.counted();
}

// Of equal ones the first column's, since blocks come in their order.
void Greedy::keep(const BestColumn& found, bool first, BestColumn& best) {
  if (first || found.score > best.score) best = found;
}

// Of equal ones the first column's.
const BestColumn& Greedy::best_of(int row) {
  const BestColumn* const begin = best(row, 0);
  return *std::max_element(begin, begin + groups_,
                           [](const BestColumn& a, const BestColumn& b) { return a.score < b.score; });
}

void Greedy::choose() {
  for (int row = 0; row < scores_.rows(); ++row) rows_.push({best_of(row).score, row});
  while (!rows_.empty()) {
    const Row top = rows_.top();
    if (!row_free_[count_of(top.row)]) {
      rows_.pop();
    } else if (top.score == kNone || !candidates_.includes(top.score)) {
      return;
    } else if (const BestColumn& column = best_of(top.row); is_free(column.column)) {
      take(top.row, column);
    } else {
      update();
    }
  }
}

void Greedy::take(int row, const BestColumn& column) {
  pairs_.push_back({row, column.column, column.score});
  const auto around = [this](int at, int size, const auto& mark) {
    for (int i = std::max(0, at - window_ + 1); i < std::min(size, at + window_); ++i) mark(i);
  };
  around(row, scores_.rows(), [this](int r) { row_free_[count_of(r)] = false; });
  around(column.column, scores_.columns(),
         [this](int c) { free_[count_of(c / kScoreBlock)] &= ~(std::uint64_t{1} << c % kScoreBlock); });
}

// Brings the rows up to date that come first, all bounds of theirs that reach the last of these rows: until one of them
// has a free column, and enough rows for a product.
void Greedy::update() {
  std::vector<Row> first;
  for (bool found = false; !rows_.empty() && first.size() < count_of(found ? kFewestRows : kMostRows); rows_.pop()) {
    const Row top = rows_.top();
    if (!row_free_[count_of(top.row)]) continue;
    if (top.score == kNone) break;
    first.push_back(top);
    found = found || is_free(best_of(top.row).column);
  }
  const float level = first.back().score;
  std::vector<Entry> stale;
  for (const Row& row : first) {
    for (int group = 0; group < groups_; ++group) {
      BestColumn& bound = *best(row.row, group);
      if (bound.score < level || !candidates_.includes(bound.score) || is_free(bound.column)) continue;
      const auto free = free_.begin() + first_block(group);
      if (std::any_of(free, free_.begin() + first_block(group + 1), [](std::uint64_t bits) { return bits != 0; })) {
        stale.push_back({group, row.row});
      } else {
        bound.score = kNone;
      }
    }
  }
  multiply(stale);
  for (const Row& row : first) rows_.push({best_of(row.row).score, row.row});
}

void Greedy::multiply(std::vector<Entry>& stale) {
  std::sort(stale.begin(), stale.end());
  std::vector<Piece> pieces;  // of one group each
  for (std::size_t i = 0; i < stale.size(); ++i) {
    if (pieces.empty() || stale[i].group != stale[i - 1].group || i - pieces.back().begin == kPiece) {
      pieces.push_back({i, i});
    }
    pieces.back().end = i + 1;
  }
  scores_.crew().run(static_cast<int>(pieces.size()), [&](int task, int thread) {
    const Piece& piece = pieces[count_of(task)];
    const int group = stale[piece.begin].group;
    const int count = static_cast<int>(piece.end - piece.begin);
    int rows[kPiece];
    for (int i = 0; i < count; ++i) {
      rows[i] = stale[piece.begin + count_of(i)].row;
      *best(rows[i], group) = {kNone, 0};
    }
    for (int block = first_block(group); block < first_block(group + 1); ++block) {
      if (!free_[count_of(block)]) continue;
      BestColumn found[kPiece];
      const float* const scores = scores_.block(block, rows, count, thread);
      scores_.kernels().score_block({scores, free_[count_of(block)], block * kScoreBlock, found, 1, nullptr}, count);
      for (int i = 0; i < count; ++i) keep(found[i], false, *best(rows[i], group));
    }
  });
}

WindowPairs one(const cpu::KernelTable& kernels, ThreadPool* pool, const WindowPairsArgs& args) {
  const Crew crew(pool);
  const Scores scores(kernels, crew, args);
  return Greedy(scores, args).run();
}

}  // namespace

std::vector<WindowPairs> window_pairs(const cpu::KernelTable& kernels, ThreadPool& pool,
                                      const std::vector<WindowPairsArgs>& movies) {
  std::vector<WindowPairs> results(movies.size());
  if (movies.size() < count_of(kTasksPerThread * pool.size())) {
    for (std::size_t m = 0; m < movies.size(); ++m) results[m] = one(kernels, &pool, movies[m]);
    return results;
  }
  std::vector<std::size_t> order(movies.size());  // the longest first, so that none is left to the end
  std::iota(order.begin(), order.end(), 0);
  const auto work = [&](std::size_t m) { return std::int64_t{movies[m].u_rows} * movies[m].v_rows * movies[m].size; };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return work(a) > work(b); });
  std::vector<std::exception_ptr> failed(movies.size());
  pool.run(static_cast<int>(movies.size()), [&](int task, int) {
    const std::size_t m = order[count_of(task)];
    try {
      results[m] = one(kernels, nullptr, movies[m]);
    } catch (...) {  // out of memory
      failed[m] = std::current_exception();
    }
  });
  for (const std::exception_ptr& failure : failed) {
    if (failure) std::rethrow_exception(failure);
  }
  return results;
}

}  // namespace megaseg
