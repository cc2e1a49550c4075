#include "bind/ops.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cmath>
#include <optional>

#include "core/ops.h"
#include "core/target.h"

namespace py = pybind11;

namespace {

using Array = py::array_t<float, py::array::c_style>;

// Ops of a target, kept per call: kernels are compared, not raced, through this door.
megaseg::Ops ops_of(const std::string& target, int num_threads) { return {megaseg::kernels(target), num_threads}; }

void check(bool fits, const char* what) {
  if (!fits) throw py::value_error(what);
}

int size_of(const Array& array, int axis) { return static_cast<int>(array.shape(axis)); }

const float* data_of(const std::optional<Array>& array) { return array ? array->data() : nullptr; }

Array linear(const Array& x, const Array& weight, const std::optional<Array>& bias,
             const std::optional<Array>& residual, bool gelu, const std::string& target, int num_threads) {
  check(x.ndim() == 2 && weight.ndim() == 2 && x.shape(1) == weight.shape(1), "linear: x (rows, k), weight (n, k)");
  check(!bias || (bias->ndim() == 1 && bias->shape(0) == weight.shape(0)), "linear: bias (n)");
  check(
      !residual || (residual->ndim() == 2 && residual->shape(0) == x.shape(0) && residual->shape(1) == weight.shape(0)),
      "linear: residual (rows, n)");
  const int rows = size_of(x, 0);
  const int n = size_of(weight, 0);
  const int k = size_of(weight, 1);
  Array out({x.shape(0), weight.shape(0)});
  float* to = out.mutable_data();
  const py::gil_scoped_release release;
  megaseg::Ops ops = ops_of(target, num_threads);
  const megaseg::Linear packed = ops.pack(weight.data(), data_of(bias), n, k, k);
  const megaseg::Matrix kept{const_cast<float*>(data_of(residual)), n};  // only read
  ops.linear({x.data(), k}, packed, {to, n}, rows,
             gelu ? megaseg::cpu::Activation::gelu : megaseg::cpu::Activation::none, residual ? &kept : nullptr);
  return out;
}

Array layer_norm(const Array& x, const Array& gamma, const Array& beta, float eps, const std::string& target) {
  check(x.ndim() == 2 && gamma.ndim() == 1 && beta.ndim() == 1 && gamma.shape(0) == x.shape(1) &&
            beta.shape(0) == x.shape(1),
        "layer_norm: x (rows, size), gamma (size), beta (size)");
  Array out({x.shape(0), x.shape(1)});
  const int size = size_of(x, 1);
  float* to = out.mutable_data();
  const int rows = size_of(x, 0);
  const py::gil_scoped_release release;
  megaseg::Ops ops = ops_of(target, 1);
  ops.layer_norm({x.data(), size, gamma.data(), beta.data(), to, size, size, eps}, rows);
  return out;
}

Array embed(const Array& x, const Array& position, const Array& align, const Array& gamma, const Array& beta, float eps,
            int first, int windows, const std::string& target) {
  check(x.ndim() == 2 && position.ndim() == 2 && align.ndim() == 2 && gamma.ndim() == 1 && beta.ndim() == 1,
        "embed: x (shots, size), position (length, size), align (bottlenecks, size), gamma (size), beta (size)");
  const int size = size_of(x, 1);
  check(size_of(position, 1) == size && size_of(align, 1) == size && size_of(gamma, 0) == size &&
            size_of(beta, 0) == size && size_of(x, 0) > 0 && size_of(align, 0) > 0,
        "embed: one size for all, at least one shot and slot");
  const int length = size_of(position, 0);
  const int shots = size_of(x, 0);
  const int slots = size_of(align, 0);
  Array out({static_cast<py::ssize_t>(windows), position.shape(0), x.shape(1)});
  float* to = out.mutable_data();
  const py::gil_scoped_release release;
  megaseg::Ops ops = ops_of(target, 1);
  ops.embed({x.data(),
             position.data(),
             align.data(),
             gamma.data(),
             beta.data(),
             to,
             nullptr,
             {first, length / 2, shots, 0},
             false,
             length,
             slots,
             size,
             eps},
            windows * length);
  return out;
}

// q, k, v: tokens (batch * bottlenecks + batch * latents, heads * head_size), all bottleneck tokens first.
Array bottleneck_attention(const Array& q, const Array& k, const Array& v, int batch, int heads, int bottlenecks,
                           bool latent_queries, const std::string& target, int num_threads) {
  check(q.ndim() == 2 && k.ndim() == 2 && v.ndim() == 2 && k.shape(0) == v.shape(0) && q.shape(1) == k.shape(1) &&
            q.shape(1) == v.shape(1) && batch > 0 && heads > 0 && q.shape(1) % heads == 0 && k.shape(0) % batch == 0,
        "bottleneck_attention: q, k, v (batch * tokens, heads * head_size)");
  const int latents = size_of(k, 0) / batch - bottlenecks;
  const int queries = latent_queries ? 0 : bottlenecks;
  check(latents >= 0 && size_of(q, 0) == batch * (queries + latents) && size_of(k, 0) > 0,
        "bottleneck_attention: tokens");
  const int size = size_of(q, 1);
  const int d = size / heads;
  Array out({q.shape(0), q.shape(1)});
  float* to = out.mutable_data();
  const py::gil_scoped_release release;
  megaseg::Ops ops = ops_of(target, num_threads);
  const int keys = bottlenecks + latents;
  const megaseg::Buffer scratch(ops.attention_scratch(batch, heads, d, queries + latents, keys));
  const float scale = 1.0F / std::sqrt(static_cast<float>(d));
  ops.attention(
      {q.data(), k.data(), v.data(), to, size, size, size, batch, d, queries, latents, bottlenecks, latents, scale},
      heads, scratch.data());
  return out;
}

// shot: (shots, 3 size) with row i the table of shot i; windows are centred on shots first, first + 1, ...
Array window_attention(const Array& shot, const Array& position, const Array& shift, const Array& bottleneck,
                       const Array& inverse_sigma, int heads, int first, const std::string& target, int num_threads) {
  check(
      shot.ndim() == 2 && position.ndim() == 2 && shift.ndim() == 1 && bottleneck.ndim() == 2 &&
          inverse_sigma.ndim() == 2,
      "window_attention: shot (shots, 3 size), position (length, 3 size), shift (3 size), bottleneck (tokens, 3 size), "
      "inverse_sigma (windows, length)");
  const int wide = size_of(shot, 1);
  const int length = size_of(position, 0);
  check(size_of(shot, 0) > 0 && size_of(position, 1) == wide && size_of(shift, 0) == wide &&
            size_of(bottleneck, 1) == wide && size_of(inverse_sigma, 1) == length && length > 0 && heads > 0 &&
            wide % (3 * heads) == 0,
        "window_attention: one width of 3 * heads * head_size for all, one position for every column of inverse_sigma");
  const int windows = size_of(inverse_sigma, 0);
  const int tokens = size_of(bottleneck, 0);
  const int d = wide / 3 / heads;
  const int shots = size_of(shot, 0);
  Array out({static_cast<py::ssize_t>(windows) * (tokens + length), static_cast<py::ssize_t>(wide / 3)});
  float* to = out.mutable_data();
  const py::gil_scoped_release release;
  megaseg::Ops ops = ops_of(target, num_threads);
  const megaseg::Buffer scratch(ops.window_attention_scratch(tokens + length, d));
  ops.window_attention({shot.data(),
                        position.data(),
                        shift.data(),
                        bottleneck.data(),
                        inverse_sigma.data(),
                        to,
                        {first, length / 2, shots, 0},
                        windows,
                        length,
                        tokens,
                        heads,
                        d,
                        1.0F / std::sqrt(static_cast<float>(d))},
                       scratch.data());
  return out;
}

Array query_attention(const Array& query, const Array& bottleneck_rows, const Array& latent_rows, float scale,
                      const std::string& target) {
  check(query.ndim() == 3 && bottleneck_rows.ndim() == 3 && latent_rows.ndim() == 3, "query_attention: three axes");
  const int windows = size_of(query, 0);
  const int size = size_of(query, 2);
  check(size_of(bottleneck_rows, 0) == windows && size_of(latent_rows, 0) == windows &&
            size_of(bottleneck_rows, 2) == size && size_of(latent_rows, 2) == size &&
            size_of(bottleneck_rows, 1) + size_of(latent_rows, 1) > 0,
        "query_attention: query (windows, heads, size), rows (windows, tokens, size)");
  Array out({query.shape(0), query.shape(1), query.shape(2)});
  float* to = out.mutable_data();
  const py::gil_scoped_release release;
  megaseg::Ops ops = ops_of(target, 1);
  const int heads = size_of(query, 1);
  const int bottlenecks = size_of(bottleneck_rows, 1);
  const int latents = size_of(latent_rows, 1);
  const megaseg::Buffer scratch(ops.query_attention_scratch(heads, bottlenecks + latents));
  ops.query_attention(
      {query.data(), bottleneck_rows.data(), latent_rows.data(), to, heads, size, bottlenecks, latents, scale}, windows,
      scratch.data());
  return out;
}

}  // namespace

void bind_ops(py::module_& m) {
  using namespace py::literals;
  m.def("linear", linear, "x"_a, "weight"_a, "bias"_a = py::none(), "residual"_a = py::none(), py::kw_only(),
        "gelu"_a = false, "target"_a = "", "num_threads"_a = 1);
  m.def("layer_norm", layer_norm, "x"_a, "gamma"_a, "beta"_a, py::kw_only(), "eps"_a = 1e-5F, "target"_a = "");
  m.def("embed", embed, "x"_a, "position"_a, "align"_a, "gamma"_a, "beta"_a, py::kw_only(), "eps"_a = 1e-5F,
        "first"_a = 0, "windows"_a, "target"_a = "");
  m.def("bottleneck_attention", bottleneck_attention, "q"_a, "k"_a, "v"_a, py::kw_only(), "batch"_a, "heads"_a,
        "bottlenecks"_a, "latent_queries"_a = false, "target"_a = "", "num_threads"_a = 1);
  m.def("window_attention", window_attention, "shot"_a, "position"_a, "shift"_a, "bottleneck"_a, "inverse_sigma"_a,
        py::kw_only(), "heads"_a, "first"_a = 0, "target"_a = "", "num_threads"_a = 1);
  m.def("query_attention", query_attention, "query"_a, "bottleneck_rows"_a, "latent_rows"_a, py::kw_only(), "scale"_a,
        "target"_a = "");
}
