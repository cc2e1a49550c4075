#include "bind/ops.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "bind/session.h"
#include "core/memory/buffer.h"

namespace {

const float* data_of(const std::optional<Floats>& array) { return array ? array->data() : nullptr; }

Type type_named(const std::string& name) {
  for (const Type type : {Type::float32, Type::bfloat16, Type::int8, Type::int16}) {
    if (name == megaseg::name_of(type)) return type;
  }
  throw megaseg::Unsupported("expected float32, bfloat16, int8 or int16, got " + name);
}

py::array empty(Type type, std::vector<py::ssize_t> shape) {
  const auto item = type == Type::float32 ? py::dtype::of<float>() : py::dtype::of<std::uint16_t>();
  return py::array(item, std::move(shape));
}

// Where a result goes: the caller's array, whose dtype is the storage, or a new one.
struct Out {
  py::array array;
  Rows rows;

  Out(const std::optional<py::array>& given, Type type, std::vector<py::ssize_t> shape)
      : array(given ? *given : empty(type, shape)) {
    check(std::equal(shape.begin(), shape.end(), array.shape(), array.shape() + array.ndim()), "out: shape");
    const ConstRows at = rows_of(array, "out: contiguous rows");
    rows = {array.mutable_data(), at.stride, at.type, nullptr};
  }
};

megaseg::cpu::Grid* grids_in(Floats& pairs) { return reinterpret_cast<megaseg::cpu::Grid*>(pairs.mutable_data()); }

megaseg::Buffer buffer_of(std::size_t bytes) { return megaseg::Buffer((bytes + sizeof(float) - 1) / sizeof(float)); }

// Rows in another type, with the memory that they stand in.
struct Stored {
  megaseg::Buffer elements;
  megaseg::Buffer grids;
  Rows rows;

  Stored(Type type, int count, int size)
      : elements(buffer_of(static_cast<std::size_t>(count) * static_cast<std::size_t>(size) *
                           static_cast<std::size_t>(bytes_of(type)))),
        grids(static_cast<std::size_t>(has_grids(type) ? 2 * count * megaseg::cpu::grids_of(size) : 0)),
        rows{elements.data(), size, type, reinterpret_cast<megaseg::cpu::Grid*>(grids.data())} {}
};

// A packed weight with its pool, so that benchmarks can leave packing out.
class Linear {
 public:
  Linear(const Floats& weight, const std::optional<Floats>& bias, const std::string& compute_type,
         const std::string& target, int num_threads)
      : type_(type_named(compute_type)), session_(target, num_threads, {type_}) {
    check(weight.ndim() == 2 && weight.size() > 0, "linear: weight (n, k)");
    n_ = size_of(weight, 0);
    k_ = size_of(weight, 1);
    check(!bias || (bias->ndim() == 1 && size_of(*bias, 0) == n_), "linear: bias (n)");
    packed_ = buffer_of(session_.ops.kernels().linear_packed_size(type_, n_, k_));
    session_.ops.kernels().linear_pack(type_, weight.data(), data_of(bias), n_, k_, packed_.data());
  }

  py::array run(const py::array& x, const std::optional<py::array>& residual, bool gelu,
                const std::optional<py::array>& given) {
    const Out out(given, type_ == Type::bfloat16 ? type_ : Type::float32, {x.shape(0), n_});
    run_to(x, residual, gelu, out.rows);
    return out.array;
  }

  // The result as int8: elements and grids.
  py::tuple run_to_grids(const py::array& x, const std::optional<py::array>& residual, bool gelu) {
    check(type_ == Type::int8, "linear: int8 rows from int8 products");
    Bytes elements({x.shape(0), py::ssize_t{n_}});
    Floats grids(std::vector<py::ssize_t>{x.shape(0), megaseg::cpu::grids_of(n_), 2});
    run_to(x, residual, gelu, {elements.mutable_data(), n_, Type::int8, grids_in(grids)});
    return py::make_tuple(elements, grids);
  }

 private:
  void run_to(const py::array& x, const std::optional<py::array>& residual, bool gelu, const Rows& out) {
    check(x.ndim() == 2 && size_of(x, 1) == k_, "linear: x (rows, k), weight (n, k)");
    check(!residual || (residual->ndim() == 2 && residual->shape(0) == x.shape(0) && size_of(*residual, 1) == n_),
          "linear: residual (rows, n)");
    const ConstRows in = rows_of(x, "linear: x with contiguous rows");
    const ConstRows kept = residual ? rows_of(*residual, "linear: residual with contiguous rows") : ConstRows{};
    const int rows = size_of(x, 0);
    session_.require({in.type, kept.type, out.type});
    const py::gil_scoped_release release;
    const bool converts = in.type != type_;
    const Stored stored(type_, converts ? rows : 0, k_);
    if (converts) session_.ops.cast({in, stored.rows, k_}, rows);
    session_.ops.linear({converts ? ConstRows(stored.rows) : in, packed_.data(), kept, out, n_, k_,
                         gelu ? megaseg::cpu::Activation::gelu : megaseg::cpu::Activation::none},
                        rows);
  }

  Type type_;
  Session session_;
  megaseg::Buffer packed_;
  int n_ = 0;
  int k_ = 0;
};

py::array linear(const py::array& x, const Floats& weight, const std::optional<Floats>& bias,
                 const std::optional<py::array>& residual, bool gelu, const std::string& compute_type,
                 const std::optional<py::array>& out, const std::string& target, int num_threads) {
  return Linear(weight, bias, compute_type, target, num_threads).run(x, residual, gelu, out);
}

py::object cast(const py::array& x, const std::string& dtype, const std::string& target) {
  check(x.ndim() == 2, "cast: x (rows, size)");
  const ConstRows in = rows_of(x, "cast: contiguous rows");
  const Type type = type_named(dtype);
  Session session(target, 1, {in.type, type});
  const int rows = size_of(x, 0);
  if (has_grids(type)) {
    py::array elements(type == Type::int8 ? py::dtype::of<std::uint8_t>() : py::dtype::of<std::int16_t>(),
                       {x.shape(0), x.shape(1)});
    Floats grids(std::vector<py::ssize_t>{x.shape(0), megaseg::cpu::grids_of(x.shape(1)), 2});
    const Rows out{elements.mutable_data(), x.shape(1), type, grids_in(grids)};
    session.ops.cast({in, out, size_of(x, 1)}, rows);
    return py::make_tuple(elements, grids);
  }
  const Out out(std::nullopt, type, {x.shape(0), x.shape(1)});
  session.ops.cast({in, out.rows, size_of(x, 1)}, rows);
  return out.array;
}

py::array layer_norm(const py::array& x, const Floats& gamma, const Floats& beta, float eps,
                     const std::optional<py::array>& given, const std::string& target) {
  check(x.ndim() == 2 && gamma.ndim() == 1 && beta.ndim() == 1 && gamma.shape(0) == x.shape(1) &&
            beta.shape(0) == x.shape(1),
        "layer_norm: x (rows, size), gamma (size), beta (size)");
  const ConstRows in = rows_of(x, "layer_norm: x with contiguous rows");
  const Out out(given, in.type, {x.shape(0), x.shape(1)});
  Session session(target, 1, {in.type, out.rows.type});
  const int rows = size_of(x, 0);
  const int size = size_of(x, 1);
  {
    const py::gil_scoped_release release;
    session.ops.layer_norm({in, gamma.data(), beta.data(), out.rows, size, eps}, rows);
  }
  return out.array;
}

bool within(const Ints& indices, py::ssize_t count) {
  return std::all_of(indices.data(), indices.data() + indices.size(), [&](int i) { return i >= 0 && i < count; });
}

py::array embed(const Floats& x, const Ints& row, const Ints& place, const Ints& slot, const Floats& position,
                const Floats& align, const Floats& gamma, const Floats& beta, float eps,
                const std::optional<py::array>& given, std::optional<Floats> inverse_std, const std::string& target) {
  check(x.ndim() == 2 && position.ndim() == 2 && align.ndim() == 2 && gamma.ndim() == 1 && beta.ndim() == 1,
        "embed: x (shots, size), position (length, size), align (bottlenecks, size), gamma (size), beta (size)");
  const int size = size_of(x, 1);
  check(size_of(position, 1) == size && size_of(align, 1) == size && size_of(gamma, 0) == size &&
            size_of(beta, 0) == size,
        "embed: one size for all");
  check(row.ndim() == 1 && place.size() == row.size() && slot.size() == row.size() && within(row, x.shape(0)) &&
            within(place, position.shape(0)) && within(slot, align.shape(0)),
        "embed: row, place, slot (rows) of x, position, align");
  check(!inverse_std || (inverse_std->ndim() == 1 && inverse_std->shape(0) == row.shape(0)),
        "embed: inverse_std (rows)");
  float* const inverse = inverse_std ? inverse_std->mutable_data() : nullptr;
  const Out out(given, Type::float32, {row.shape(0), x.shape(1)});
  Session session(target, 1, {out.rows.type});
  const int rows = size_of(row, 0);
  {
    const py::gil_scoped_release release;
    session.ops.embed({x.data(), row.data(), place.data(), slot.data(), position.data(), align.data(), gamma.data(),
                       beta.data(), out.rows, inverse, size, eps},
                      rows);
  }
  return out.array;
}

bool ascends(const Ints& begin, py::ssize_t last) {
  return begin.ndim() == 1 && begin.size() > 1 && begin.data()[0] == 0 && begin.data()[begin.size() - 1] == last &&
         std::is_sorted(begin.data(), begin.data() + begin.size());
}

// q, k, v: tokens of all sequences, all bottleneck tokens first, then the latents begin[b] to begin[b + 1] of each.
py::array bottleneck_attention(const py::array& q, const py::array& k, const py::array& v, const Ints& begin, int heads,
                               int bottlenecks, const std::optional<Ints>& queries, bool latent_queries,
                               const std::string& compute_type, const std::optional<py::array>& given,
                               const std::string& target, int num_threads) {
  check(q.ndim() == 2 && k.ndim() == 2 && v.ndim() == 2 && k.shape(0) == v.shape(0) && q.shape(1) == k.shape(1) &&
            q.shape(1) == v.shape(1) && heads > 0 && q.shape(1) % heads == 0 && bottlenecks >= 0,
        "bottleneck_attention: q, k, v (tokens, heads * head_size)");
  const Ints& query_begin = queries ? *queries : begin;
  const int batch = static_cast<int>(begin.size()) - 1;
  const int own = latent_queries ? 0 : bottlenecks;
  const py::ssize_t latents = k.shape(0) - static_cast<py::ssize_t>(batch) * bottlenecks;
  check(ascends(begin, latents) && query_begin.size() == begin.size() &&
            ascends(query_begin, q.shape(0) - static_cast<py::ssize_t>(batch) * own),
        "bottleneck_attention: begin (batch + 1) ascends from 0 to the number of latents");
  int longest = 0;
  int most_queries = 0;
  bool empty_keys = false;
  for (int b = 0; b < batch; ++b) {
    const int keys = bottlenecks + begin.data()[b + 1] - begin.data()[b];
    longest = std::max(longest, keys - bottlenecks);
    most_queries = std::max(most_queries, own + query_begin.data()[b + 1] - query_begin.data()[b]);
    empty_keys = empty_keys || keys == 0;
  }
  check(!empty_keys, "bottleneck_attention: no sequence without tokens");
  const int d = size_of(q, 1) / heads;
  const Out out(given, type_of(q), {q.shape(0), q.shape(1)});
  check(type_of(k) == type_of(q) && type_of(v) == type_of(q) && out.rows.type == type_of(q),
        "bottleneck_attention: q, k, v and out of one type");
  const megaseg::cpu::Type product = compute_type.empty() ? type_of(q) : type_named(compute_type);
  check(product == type_of(q) || product == megaseg::cpu::Type::int8, "bottleneck_attention: q's type, or int8");
  Session session(target, num_threads, {out.rows.type, product});
  const megaseg::cpu::AttentionArgs args{.q = rows_of(q, "bottleneck_attention: q with contiguous rows"),
                                         .k = rows_of(k, "bottleneck_attention: k with contiguous rows"),
                                         .v = rows_of(v, "bottleneck_attention: v with contiguous rows"),
                                         .out = out.rows,
                                         .product = product,
                                         .batch = batch,
                                         .heads = heads,
                                         .head_size = d,
                                         .query_prefix = own,
                                         .query_begin = query_begin.data(),
                                         .prefix = bottlenecks,
                                         .begin = begin.data(),
                                         .scale = 1.0F / std::sqrt(static_cast<float>(d))};
  {
    const py::gil_scoped_release release;
    const megaseg::Buffer scratch = buffer_of(session.ops.attention_scratch(
        product, batch, heads, d, most_queries, bottlenecks, longest, static_cast<int>(latents)));
    session.ops.attention(args, scratch.data());
  }
  return out.array;
}

// shot (shots, 3 size): row (windows, length) of it stand at the positions of a window.
py::array window_attention(const Floats& shot, const Ints& row, const Floats& position, const Floats& shift,
                           const Floats& bottleneck, const Floats& inverse_std, int heads,
                           const std::optional<py::array>& given, const std::string& target, int num_threads) {
  check(shot.ndim() == 2 && row.ndim() == 2 && position.ndim() == 2 && shift.ndim() == 1 && bottleneck.ndim() == 2 &&
            inverse_std.ndim() == 2,
        "window_attention: shot (shots, 3 size), row (windows, length), position (length, 3 size), shift (3 size), "
        "bottleneck (tokens, 3 size), inverse_std (windows, length)");
  const int wide = size_of(shot, 1);
  const int length = size_of(position, 0);
  const int windows = size_of(inverse_std, 0);
  check(size_of(position, 1) == wide && size_of(shift, 0) == wide && size_of(bottleneck, 1) == wide && heads > 0 &&
            wide % (3 * heads) == 0 && length > 0,
        "window_attention: one width of 3 * heads * head_size for all");
  check(size_of(inverse_std, 1) == length && size_of(row, 0) == windows && size_of(row, 1) == length &&
            within(row, shot.shape(0)),
        "window_attention: a row of shot and a scale for every position of every window");
  const int tokens = size_of(bottleneck, 0);
  const int d = wide / 3 / heads;
  const Out out(given, Type::float32,
                {static_cast<py::ssize_t>(windows) * (tokens + length), static_cast<py::ssize_t>(wide / 3)});
  Session session(target, num_threads, {out.rows.type});
  {
    const py::gil_scoped_release release;
    const megaseg::Buffer scratch = buffer_of(session.ops.window_attention_scratch(out.rows.type, tokens + length, d));
    session.ops.window_attention(
        {shot.data(), row.data(), position.data(), shift.data(), bottleneck.data(), inverse_std.data(), out.rows,
         windows, length, tokens, heads, d, 1.0F / std::sqrt(static_cast<float>(d))},
        scratch.data());
  }
  return out.array;
}

// A token matrix of three axes as rows.
ConstRows token_rows(const py::array& array) {
  check((array.flags() & py::array::c_style) != 0, "query_attention: contiguous tokens");
  return {array.data(), array.shape(2), type_of(array), nullptr};
}

py::array query_attention(const Floats& query, const py::array& bottleneck_rows, const py::array& latent_rows,
                          float scale, const std::optional<py::array>& given, const std::string& target) {
  check(query.ndim() == 3 && bottleneck_rows.ndim() == 3 && latent_rows.ndim() == 3, "query_attention: three axes");
  const int windows = size_of(query, 0);
  const int size = size_of(query, 2);
  check(size_of(bottleneck_rows, 0) == windows && size_of(latent_rows, 0) == windows &&
            size_of(bottleneck_rows, 2) == size && size_of(latent_rows, 2) == size &&
            size_of(bottleneck_rows, 1) + size_of(latent_rows, 1) > 0 &&
            type_of(bottleneck_rows) == type_of(latent_rows),
        "query_attention: query (windows, heads, size), rows (windows, tokens, size) of one type");
  const Out out(given, Type::float32, {query.shape(0), query.shape(1), query.shape(2)});
  Session session(target, 1, {type_of(latent_rows), out.rows.type});
  const megaseg::cpu::QueryAttentionArgs args{
      query.data(), token_rows(bottleneck_rows), token_rows(latent_rows), out.rows, size_of(query, 1),
      size,         size_of(bottleneck_rows, 1), size_of(latent_rows, 1), scale};
  {
    const py::gil_scoped_release release;
    const megaseg::Buffer scratch =
        buffer_of(session.ops.query_attention_scratch(args.heads, args.prefix + args.latents));
    session.ops.query_attention(args, windows, scratch.data());
  }
  return out.array;
}

}  // namespace

void bind_ops(py::module_& m) {
  using namespace py::literals;
  const auto none = py::none();
  py::class_<Linear>(m, "Linear")
      .def(py::init<const Floats&, const std::optional<Floats>&, const std::string&, const std::string&, int>(),
           "weight"_a, "bias"_a = none, py::kw_only(), "compute_type"_a = "float32", "target"_a = "",
           "num_threads"_a = 1)
      .def("__call__", &Linear::run, "x"_a, "residual"_a = none, py::kw_only(), "gelu"_a = false, "out"_a = none)
      .def("to_int8", &Linear::run_to_grids, "x"_a, "residual"_a = none, py::kw_only(), "gelu"_a = false);
  m.def("linear", linear, "x"_a, "weight"_a, "bias"_a = none, "residual"_a = none, py::kw_only(), "gelu"_a = false,
        "compute_type"_a = "float32", "out"_a = none, "target"_a = "", "num_threads"_a = 1);
  m.def("cast", cast, "x"_a, "dtype"_a, py::kw_only(), "target"_a = "");
  m.def("layer_norm", layer_norm, "x"_a, "gamma"_a, "beta"_a, py::kw_only(), "eps"_a = 1e-5F, "out"_a = none,
        "target"_a = "");
  m.def("embed", embed, "x"_a, "row"_a, "place"_a, "slot"_a, "position"_a, "align"_a, "gamma"_a, "beta"_a,
        py::kw_only(), "eps"_a = 1e-5F, "out"_a = none, "inverse_std"_a = none, "target"_a = "");
  m.def("bottleneck_attention", bottleneck_attention, "q"_a, "k"_a, "v"_a, "begin"_a, py::kw_only(), "heads"_a,
        "bottlenecks"_a, "query_begin"_a = none, "latent_queries"_a = false, "compute_type"_a = "", "out"_a = none,
        "target"_a = "", "num_threads"_a = 1);
  m.def("window_attention", window_attention, "shot"_a, "row"_a, "position"_a, "shift"_a, "bottleneck"_a,
        "inverse_std"_a, py::kw_only(), "heads"_a, "out"_a = none, "target"_a = "", "num_threads"_a = 1);
  m.def("query_attention", query_attention, "query"_a, "bottleneck_rows"_a, "latent_rows"_a, py::kw_only(), "scale"_a,
        "out"_a = none, "target"_a = "");
}
