// The Python module megaseg._C: argument checks, GIL release, nothing else.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <new>
#include <optional>

#include "bind/cuda.h"
#include "bind/ops.h"
#include "bind/plan.h"
#include "core/artefact.h"
#include "core/error.h"
#include "core/finite.h"
#include "core/memory/buffer.h"
#include "core/platform/target.h"

namespace py = pybind11;

namespace {

using FloatArray = py::array_t<float, py::array::c_style>;
using ByteArray = py::array_t<std::uint8_t, py::array::c_style>;

void raise_as(const char* name, const char* what) {
  const py::object type = py::module_::import("megaseg.errors").attr(name);
  // Paths need not be UTF-8.
  const auto text = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(what, static_cast<py::ssize_t>(std::strlen(what)), "backslashreplace"));
  PyErr_SetObject(type.ptr(), text.ptr());
}

void translate(std::exception_ptr pointer) {
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const megaseg::Unsupported& error) {
    raise_as("UnsupportedError", error.what());
  } catch (const megaseg::ResourceLimit& error) {
    raise_as("ResourceLimitError", error.what());
  } catch (const megaseg::BadFeatures& error) {
    raise_as("FeatureError", error.what());
  } catch (const megaseg::BadArtefact& error) {
    raise_as("CheckpointError", error.what());
  } catch (const std::bad_alloc&) {
    raise_as("ResourceLimitError",
             "out of memory: give memory_limit to have a model of windows work in smaller chunks");
  }
}

megaseg::cpu::Type type_named(const std::string& name, const megaseg::cpu::KernelTable& kernels) {
  for (int i = 0; i < megaseg::cpu::kTypes; ++i) {
    const auto type = static_cast<megaseg::cpu::Type>(i);
    if (name == megaseg::name_of(type) && kernels.types[i]) return type;
  }
  throw megaseg::Unsupported("type " + name + ": target " + kernels.name + " has no such products");
}

std::size_t linear_packed_size(const std::string& type, int n, int k, const std::string& target) {
  const megaseg::cpu::KernelTable& kernels = megaseg::kernels(target);
  return kernels.linear_packed_size(type_named(type, kernels), n, k);
}

ByteArray linear_pack(const std::string& type, const FloatArray& weight, const std::optional<FloatArray>& bias,
                      const std::string& target) {
  const bool fits = weight.ndim() == 2 && (!bias || (bias->ndim() == 1 && bias->shape(0) == weight.shape(0)));
  if (!fits) throw py::value_error("linear_pack: weight (n, k), bias (n)");
  const megaseg::cpu::KernelTable& kernels = megaseg::kernels(target);
  const megaseg::cpu::Type of = type_named(type, kernels);
  const int n = static_cast<int>(weight.shape(0));
  const int k = static_cast<int>(weight.shape(1));
  const std::size_t size = kernels.linear_packed_size(of, n, k);
  const megaseg::Buffer aligned(size / sizeof(float));
  const float* from = weight.data();
  const float* shift = bias ? bias->data() : nullptr;
  {
    const py::gil_scoped_release release;
    kernels.linear_pack(of, from, shift, n, k, aligned.data());
  }
  return ByteArray(static_cast<py::ssize_t>(size), reinterpret_cast<const std::uint8_t*>(aligned.data()));
}

bool all_finite(const py::array& x) {
  if ((x.flags() & py::array::c_style) == 0) throw py::value_error("all_finite: a C-contiguous array");
  if (x.dtype().kind() != 'f' || x.itemsize() > 4) throw py::type_error("all_finite: float32 or float16");
  const bool wide = x.itemsize() == 4;
  const void* data = x.data();
  const auto count = static_cast<std::size_t>(x.size());
  const py::gil_scoped_release release;
  return wide ? megaseg::all_finite(static_cast<const std::uint32_t*>(data), count)
              : megaseg::all_finite(static_cast<const std::uint16_t*>(data), count);
}

}  // namespace

// Nothing here is shared between threads without a lock: a plan has its own, and the tables of targets are made once.
PYBIND11_MODULE(_C, m, py::mod_gil_not_used()) {
  using namespace py::literals;
  py::register_local_exception_translator(translate);
  m.def("available_targets", megaseg::available_targets);
  m.def("target", [] { return std::string(megaseg::kernels().name); });
  m.def(
      "compute_types", [](const std::string& target) { return megaseg::compute_types(megaseg::kernels(target)); },
      "target"_a = "");
  m.def(
      "product_types", [](const std::string& target) { return megaseg::product_types(megaseg::kernels(target)); },
      "target"_a = "");
  m.def("linear_packed_size", linear_packed_size, "type"_a, "n"_a, "k"_a, py::kw_only(), "target"_a = "");
  m.def("linear_pack", linear_pack, "type"_a, "weight"_a, "bias"_a = py::none(), py::kw_only(), "target"_a = "");
  m.def("all_finite", all_finite, "x"_a);
  m.def("seal_artefact", megaseg::seal_artefact, "path"_a);
  bind_plan(m);
  bind_ops(m);
  bind_movies(m);
  bind_cuda(m);
}
