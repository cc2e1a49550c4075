#include "core/run/parallel.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace megaseg {
namespace {

constexpr int kQueriesPerTask = 96;
// Products: rows that are not worth dividing (two tiles of AMX), rows that make up for reading their panels, rows times
// panels that make a task worth its start, and tasks for a thread.
constexpr int kRowUnit = 32;
constexpr int kPanelRows = 96;
constexpr int kRowBlockBytes = 384 * 1024;
constexpr int kTaskRows = 192;
constexpr int kFewestTasks = 2;
constexpr int kMostTasks = 32;
constexpr int kEstepRows = 768;     // of shots in a task: the sentences come from memory once for them
constexpr int kEstepUnit = 12;      // whole tiles of any target
constexpr std::size_t kLine = 64;   // bytes: threads' scratch areas share no cache line
constexpr int kTasksPerThread = 4;  // enough to even out their lengths

int ceil_div(int a, int b) { return (a + b - 1) / b; }
std::size_t whole_lines(std::size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }
std::size_t count_of(int n) { return static_cast<std::size_t>(n); }

// Blocks of rows of a row-wise op.
template <typename Kernel>
void by_rows(ThreadPool& pool, int rows, const Kernel& kernel) {
  const int block = std::max(16, ceil_div(rows, kTasksPerThread * pool.size()));
  pool.run(ceil_div(rows, block), [&](int task, int) { kernel(task * block, std::min(rows, (task + 1) * block)); });
}

struct Piece {
  int sequence;
  int begin;
  int end;
};

// Sequences cut into pieces of at most `most` rows.
template <typename Length>
std::vector<Piece> pieces_of(int sequences, int most, const Length& length) {
  std::vector<Piece> pieces;
  for (int b = 0; b < sequences; ++b) {
    for (int begin = 0; begin < length(b); begin += most) {
      pieces.push_back({b, begin, std::min(length(b), begin + most)});
    }
  }
  return pieces;
}

}  // namespace

// A task is a block of rows that stays in a core's L2 cache while some panels of the weight pass by. Neighbouring tasks
// share the panels: they come from memory once for all threads, and with few rows once at all, in long stretches.
void Ops::linear(const cpu::LinearArgs& args, int rows) {
  if (rows == 0) return;
  const int columns = kernels_.linear_panel(args.in.type);
  const int panels = ceil_div(args.n, columns);
  const int units = ceil_div(rows, kRowUnit);
  const int cached = std::max(kPanelRows, kRowBlockBytes / (args.k * bytes_of(args.in.type)));
  const int blocks = std::clamp(ceil_div(kTasksPerThread * threads(), panels), ceil_div(rows, cached), units);
  const int share = panels * blocks / threads();  // panels for a thread
  const int most = std::max({1, share / kMostTasks, std::min(share / kFewestTasks, kTaskRows * blocks / rows)});
  const int whole = args.out.type == cpu::Type::int8 ? cpu::kGridSize / columns : 1;
  const int step = ceil_div(most, whole) * whole;
  const int parts = ceil_div(panels, step);
  // A block too large to come from memory again with every few panels stays instead, and panels pass by.
  const bool stays = cached * args.k * bytes_of(args.in.type) > 2 * kRowBlockBytes;
  pool_.run(blocks * parts, [&](int task, int) {
    const auto row = [&](std::int64_t block) {
      return std::min(rows, static_cast<int>(units * block / blocks) * kRowUnit);
    };
    const int block = stays ? task / parts : task % blocks;
    const int panel = (stays ? task % parts : task / blocks) * step;
    kernels_.linear(args, row(block), row(block + 1), panel, std::min(panels, panel + step));
  });
}

void Ops::layer_norm(const cpu::LayerNormArgs& args, int rows) {
  by_rows(pool_, rows, [&](int begin, int end) { kernels_.layer_norm(args, begin, end); });
}

void Ops::cast(const cpu::CastArgs& args, int rows) {
  by_rows(pool_, rows, [&](int begin, int end) { kernels_.cast(args, begin, end); });
}

void Ops::embed(const cpu::EmbedArgs& args, int rows) {
  by_rows(pool_, rows, [&](int begin, int end) { kernels_.embed(args, begin, end); });
}

void Ops::add_table(const cpu::AddTableArgs& args, int rows) {
  by_rows(pool_, rows, [&](int begin, int end) { kernels_.add_table(args, begin, end); });
}

void Ops::add(const cpu::AddArgs& args, int rows) {
  by_rows(pool_, rows, [&](int begin, int end) { kernels_.add(args, begin, end); });
}

void Ops::pool(const cpu::PoolArgs& args, int sequences) {
  pool_.run(sequences, [&](int task, int) { kernels_.pool(args, task, task + 1); });
}

void Ops::l2_normalise(const cpu::L2NormaliseArgs& args, int rows) {
  by_rows(pool_, rows, [&](int begin, int end) { kernels_.l2_normalise(args, begin, end); });
}

void Ops::gather(const cpu::GatherArgs& args, int rows) {
  by_rows(pool_, rows, [&](int begin, int end) { kernels_.gather(args, begin, end); });
}

void Ops::scatter_mean(const cpu::ScatterMeanArgs& args, int sequences) {
  pool_.run(sequences, [&](int task, int) { kernels_.scatter_mean(args, task, task + 1); });
}

void Ops::copy(const cpu::ConstRows& in, const cpu::Rows& out, int rows, int columns) {
  const auto size = static_cast<std::ptrdiff_t>(bytes_of(in.type));
  by_rows(pool_, rows, [&](int begin, int end) {
    for (std::ptrdiff_t r = begin; r < end; ++r) {
      std::memcpy(static_cast<std::byte*>(out.data) + r * out.stride * size,
                  static_cast<const std::byte*>(in.data) + r * in.stride * size,
                  count_of(columns) * count_of(bytes_of(in.type)));
    }
  });
}

std::size_t Ops::attention_scratch(cpu::Type type, int batch, int heads, int head_size, int queries, int prefix,
                                   int longest, int rows) const {
  const auto size_of = [&](int keys) { return whole_lines(kernels_.attention_panels_size(type, keys, head_size)); };
  const std::size_t one = whole_lines(kernels_.attention_scratch_size(type, head_size));
  const std::size_t by_thread = count_of(threads()) * (size_of(prefix + longest) + one);
  if (queries <= kQueriesPerTask) return by_thread;
  // Sequences one by one need at most a last panel each more than all of them as one.
  const std::size_t all = size_of(batch * prefix + rows) + count_of(batch) * (size_of(1) + kLine);
  return std::max(by_thread, count_of(heads) * all + count_of(threads()) * one);
}

// Keys and values of short sequences are laid out by the task that attends to them; those of long ones once, and then
// read by many tasks.
void Ops::attention(const cpu::AttentionArgs& args, void* scratch) {
  auto* const base = static_cast<std::byte*>(scratch);
  const auto size_of = [&](int b) {
    return whole_lines(kernels_.attention_panels_size(args.product, args.keys(b), args.head_size));
  };
  const std::size_t one = whole_lines(kernels_.attention_scratch_size(args.product, args.head_size));
  int queries = 0;
  std::size_t largest = 0;
  std::vector<std::size_t> at{0};  // of a sequence's heads
  for (int b = 0; b < args.batch; ++b) {
    queries = std::max(queries, args.queries(b));
    largest = std::max(largest, size_of(b));
    at.push_back(at.back() + count_of(args.heads) * size_of(b));
  }
  if (queries <= kQueriesPerTask && args.batch * args.heads >= threads()) {
    const int together = args.batch < kTasksPerThread * threads() ? 1 : args.heads;
    const int parts = args.heads / together;
    pool_.run(args.batch * parts, [&](int task, int thread) {
      std::byte* mine = base + count_of(thread) * (largest + one);
      const int b = task / parts;
      for (int i = 0; i < together; ++i) {
        const int head = task % parts * together + i;
        kernels_.attention_panels(args, b, head, 0, args.keys(b), mine);
        kernels_.attention(args, b, head, 0, args.queries(b), mine, mine + largest);
      }
    });
    return;
  }
  const auto place = [&](int b, int head) { return base + at[count_of(b)] + count_of(head) * size_of(b); };
  const auto share_out = [&](const std::vector<Piece>& pieces, const auto& kernel) {
    const int count = static_cast<int>(pieces.size());  // pieces of a head in turn: its keys stay in the cache
    pool_.run(count * args.heads,
              [&](int task, int thread) { kernel(pieces[count_of(task % count)], task / count, thread); });
  };
  share_out(pieces_of(args.batch, cpu::kPanelKeys, [&](int b) { return args.keys(b); }), [&](const Piece& piece,
                                                                                             int head, int) {
    kernels_.attention_panels(args, piece.sequence, head, piece.begin, piece.end, place(piece.sequence, head));
  });
  share_out(pieces_of(args.batch, kQueriesPerTask, [&](int b) { return args.queries(b); }),
            [&](const Piece& piece, int head, int thread) {
              kernels_.attention(args, piece.sequence, head, piece.begin, piece.end, place(piece.sequence, head),
                                 base + at.back() + count_of(thread) * one);
            });
}

std::size_t Ops::window_attention_scratch(cpu::Type type, int tokens, int head_size) const {
  return count_of(threads()) * whole_lines(kernels_.window_attention_scratch_size(type, tokens, head_size));
}

void Ops::window_attention(const cpu::WindowAttentionArgs& args, void* scratch) {
  const std::size_t one =
      whole_lines(kernels_.window_attention_scratch_size(args.out.type, args.prefix + args.length, args.head_size));
  // A head's windows in turn: they read the same rows of the tables.
  const int blocks = std::clamp(args.windows, 1, ceil_div(kTasksPerThread * threads(), args.heads));
  const int block = ceil_div(args.windows, blocks);
  pool_.run(args.heads * blocks, [&](int task, int thread) {
    const int begin = task % blocks * block;
    for (int window = begin; window < std::min(args.windows, begin + block); ++window) {
      kernels_.window_attention(args, window, task / blocks, static_cast<std::byte*>(scratch) + count_of(thread) * one);
    }
  });
}

std::size_t Ops::query_attention_scratch(int heads, int keys) const {
  return count_of(threads()) * whole_lines(kernels_.query_attention_scratch_size(heads, keys));
}

void Ops::query_attention(const cpu::QueryAttentionArgs& args, int windows, void* scratch) {
  const std::size_t one = whole_lines(kernels_.query_attention_scratch_size(args.heads, args.prefix + args.latents));
  pool_.run(windows, [&](int window, int thread) {
    kernels_.query_attention(args, window, static_cast<std::byte*>(scratch) + count_of(thread) * one);
  });
}

std::vector<int> Ops::banded_estep(const std::vector<cpu::BandedEstepArgs>& movies) {
  std::int64_t shots = 0;
  for (const cpu::BandedEstepArgs& movie : movies) shots += movie.shot_count;
  const std::int64_t share = shots / (kTasksPerThread * threads());
  const int most = ceil_div(static_cast<int>(std::clamp<std::int64_t>(share, 1, kEstepRows)), kEstepUnit) * kEstepUnit;
  const auto pieces =
      pieces_of(static_cast<int>(movies.size()), most, [&](int m) { return movies[count_of(m)].shot_count; });
  std::vector<char> finite(pieces.size());
  pool_.run(static_cast<int>(pieces.size()), [&](int task, int) {
    const Piece& piece = pieces[count_of(task)];
    finite[count_of(task)] = kernels_.banded_estep(movies[count_of(piece.sequence)], piece.begin, piece.end);
  });
  std::vector<int> bad;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (!finite[i] && (bad.empty() || bad.back() != pieces[i].sequence)) bad.push_back(pieces[i].sequence);
  }
  return bad;
}

}  // namespace megaseg
