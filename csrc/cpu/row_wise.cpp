// Small ops that touch every row once: sums of rows, rows of tables, norms of rows.
#include "cpu/normalise.h"
#include "cpu/ops.h"

namespace {

// out[i] = f(i), f a vector of elements i, i + 1, ..., or the first `count` of them.
template <typename Out, typename F>
MEGASEG_INLINE void write(Out* out, int size, const F& f) {
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) store(out + i, f([i](const auto* row) { return load(row + i); }));
  if (const int left = size - i; left > 0) {
    store_partial(out + i, f([i, left](const auto* row) { return load_partial(row + i, left); }), left);
  }
}

}  // namespace

namespace megaseg::cpu::MEGASEG_TARGET {

void add_table(const AddTableArgs& args, int begin, int end) {
  with_type(args.in.type, [&]<typename In>(In) {
    with_type(args.out.type, [&]<typename Out>(Out) {
      for (int r = begin; r < end; ++r) {
        const In* in = row_of<In>(args.in, args.row ? args.row[r] : r);
        const float* added = args.table + static_cast<ptrdiff_t>(args.place[r]) * args.size;
        write(row_of<Out>(args.out, r), args.size, [&](const auto& read) { return read(in) + read(added); });
      }
    });
  });
}

void add(const AddArgs& args, int begin, int end) {
  for (int r = begin; r < end; ++r) {
    auto* const out = row_of<float>(args.out, r);
    for (int i = 0; i < args.count; ++i) {
      with_type(args.in[i].type, [&]<typename In>(In) {
        const In* in = row_of<In>(args.in[i], r);
        const float* sum = i > 0 ? out : args.bias;
        write(out, args.size, [&](const auto& read) { return sum ? read(sum) + read(in) : read(in); });
      });
    }
  }
}

void pool(const PoolArgs& args, int begin, int end) {
  with_type(args.in.type, [&]<typename In>(In) {
    with_type(args.out.type, [&]<typename Out>(Out) {
      for (int b = begin; b < end; ++b) {
        const int first = args.begin[b];
        const int last = args.mean ? args.begin[b + 1] : first + 1;
        for (int g = 0; g < args.groups; ++g) {
          const auto member = [&](int r) { return !args.group || args.group[r] == g; };
          int count = 0;
          for (int r = first; r < last; ++r) count += member(r);
          const float share = count > 0 ? 1.0F / static_cast<float>(count) : 0.0F;
          write(row_of<Out>(args.out, b) + g * args.size, args.size, [&](const auto& read) {
            Vec sum{};
            for (int r = first; r < last; ++r) {
              if (member(r)) sum += read(row_of<In>(args.in, r));
            }
            return sum * share;
          });
        }
      }
    });
  });
}

void l2_normalise(const L2NormaliseArgs& args, int begin, int end) {
  with_type(args.in.type, [&]<typename In>(In) {
    with_type(args.out.type, [&]<typename Out>(Out) {
      for (int r = begin; r < end; ++r) {
        const In* in = row_of<In>(args.in, r);
        const float square = sum_over(Row<In>{in}, args.size, [](Vec x) { return x * x; });
        const float norm = __builtin_sqrtf(square);
        const float share = norm < args.eps ? 1.0F / args.eps : norm / square;  // NaN of a square beyond float32
        write(row_of<Out>(args.out, r), args.size, [&](const auto& read) { return read(in) * share; });
      }
    });
  });
}

void gather(const GatherArgs& args, int begin, int end) {
  const auto last = static_cast<std::uint32_t>(args.table_rows - 1);
  with_type(args.out.type, [&]<typename Out>(Out) {
    for (int r = begin; r < end; ++r) {
      const auto id = static_cast<std::uint32_t>(*row_of<std::int32_t>(args.id, r));
      const float* row = args.table + static_cast<ptrdiff_t>(id < last ? id : last) * args.size;
      write(row_of<Out>(args.out, r), args.size, [&](const auto& read) { return read(row); });
    }
  });
}

void scatter_mean(const ScatterMeanArgs& args, int begin, int end) {
  for (int b = begin; b < end; ++b) {
    const int length = args.begin[b + 1] - args.begin[b];
    const auto out = [&](int place) { return row_of<float>(args.out, args.begin[b] + place); };
    const auto there = [&](int r) {
      return static_cast<std::uint32_t>(args.place[r]) < static_cast<std::uint32_t>(length);
    };
    for (int p = 0; p < length; ++p) {
      write(out(p), args.size, [](const auto&) { return Vec{}; });
    }
    with_type(args.in.type, [&]<typename In>(In) {
      for (int r = args.source[b]; r < args.source[b + 1]; ++r) {
        if (!there(r)) continue;
        const In* in = row_of<In>(args.in, r);
        float* sum = out(args.place[r]);
        write(sum, args.size, [&](const auto& read) { return read(sum) + read(in); });
      }
    });
    for (int p = 0; p < length; ++p) {
      int count = 0;
      for (int r = args.source[b]; r < args.source[b + 1]; ++r) count += args.place[r] == p;
      if (count < 2) continue;
      float* mean = out(p);
      const float share = 1.0F / static_cast<float>(count);
      write(mean, args.size, [&](const auto& read) { return read(mean) * share; });
    }
  }
}

}  // namespace megaseg::cpu::MEGASEG_TARGET
