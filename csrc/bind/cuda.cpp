#include "bind/cuda.h"

#include <pybind11/stl.h>

#include <cmath>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cuda/ops.h"

namespace py = pybind11;

#if defined(MEGASEG_CUDA_ARCHITECTURES)

namespace {

using namespace megaseg::cuda;

using Address = std::uintptr_t;
using Matrix = std::pair<Address, std::int64_t>;  // of the first row; elements from row to row

template <typename T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);  // NOLINT(performance-no-int-to-ptr): torch's data_ptr() is an int
}

std::vector<std::string> cuda_architectures() {
  std::istringstream names(MEGASEG_CUDA_ARCHITECTURES);
  return {std::istream_iterator<std::string>(names), {}};
}

ConstRows rows_of(const Matrix& matrix) { return {at<const void>(matrix.first), matrix.second}; }

Type type_named(const std::string& name) {
  if (name == "float16") return Type::float16;
  if (name == "bfloat16") return Type::bfloat16;
  throw py::value_error("dtype: expected float16 or bfloat16, got " + name);
}

void raise_on(const char* error, const char* op) {
  if (error != nullptr) throw std::runtime_error(std::string(op) + ": " + error);
}

void bind_bottleneck_attention(py::module_& m) {
  using namespace py::literals;
  m.def(
      "cuda_bottleneck_attention",
      [](const std::string& dtype, const Matrix& q, const Matrix& k, const Matrix& v, const Matrix& out, Address begin,
         int batch, int heads, int head_size, int bottlenecks, int longest, bool latent_queries, Address stream) {
        const float scale = static_cast<float>(std::log2(std::exp(1.0)) / std::sqrt(head_size));
        const BottleneckAttentionArgs args{.q = rows_of(q),
                                           .k = rows_of(k),
                                           .v = rows_of(v),
                                           .out = {at<void>(out.first), out.second},
                                           .begin = at<const std::int32_t>(begin),
                                           .batch = batch,
                                           .heads = heads,
                                           .bottlenecks = bottlenecks,
                                           .longest = longest,
                                           .latent_queries = latent_queries,
                                           .scale = scale};
        const Type type = type_named(dtype);
        const py::gil_scoped_release release;
        raise_on(bottleneck_attention(args, type, head_size, at<CUstream_st>(stream)), "bottleneck_attention");
      },
      py::kw_only(), "dtype"_a, "q"_a, "k"_a, "v"_a, "out"_a, "begin"_a, "batch"_a, "heads"_a, "head_size"_a,
      "bottlenecks"_a, "longest"_a, "latent_queries"_a, "stream"_a);
}

void bind_banded_estep(py::module_& m) {
  using namespace py::literals;
  m.def(
      "cuda_banded_estep",
      [](const std::string& dtype, const Matrix& shots, const Matrix& sentences, Address shot_begin,
         Address sentence_begin, Address reach, Address out_begin, Address bits, Address bad, int batch, int size,
         int longest, std::int64_t total, float threshold, Address stream) {
        const BandedEstepArgs args{.shots = rows_of(shots),
                                   .sentences = rows_of(sentences),
                                   .shot_begin = at<const std::int32_t>(shot_begin),
                                   .sentence_begin = at<const std::int32_t>(sentence_begin),
                                   .reach = at<const std::int64_t>(reach),
                                   .out_begin = at<const std::int64_t>(out_begin),
                                   .bits = at<std::uint8_t>(bits),
                                   .bad = at<std::int32_t>(bad),
                                   .batch = batch,
                                   .size = size,
                                   .longest = longest,
                                   .total = total,
                                   .threshold = threshold};
        const Type type = type_named(dtype);
        const py::gil_scoped_release release;
        raise_on(banded_estep(args, type, at<CUstream_st>(stream)), "banded_estep");
      },
      py::kw_only(), "dtype"_a, "shots"_a, "sentences"_a, "shot_begin"_a, "sentence_begin"_a, "reach"_a, "out_begin"_a,
      "bits"_a, "bad"_a, "batch"_a, "size"_a, "longest"_a, "total"_a, "threshold"_a, "stream"_a);
}

}  // namespace

void bind_cuda(py::module_& m) {
  m.def("cuda_architectures", cuda_architectures);
  bind_bottleneck_attention(m);
  bind_banded_estep(m);
}

#else

void bind_cuda(py::module_& m) {
  m.def("cuda_architectures", [] { return std::vector<std::string>(); });
}

#endif
