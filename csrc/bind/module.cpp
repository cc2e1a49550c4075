// The Python module megaseg._C: argument checks, GIL release, nothing else.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <new>

#include "bind/ops.h"
#include "core/target.h"
#include "megaseg/error.h"

namespace py = pybind11;

namespace {

void raise_as(const char* name, const char* what) {
  const py::object type = py::module_::import("megaseg.errors").attr(name);
  PyErr_SetString(type.ptr(), what);
}

void translate(std::exception_ptr pointer) {
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const megaseg::Unsupported& error) {
    raise_as("UnsupportedError", error.what());
  } catch (const megaseg::ResourceLimit& error) {
    raise_as("ResourceLimitError", error.what());
  } catch (const std::bad_alloc&) {
    raise_as("ResourceLimitError", "out of memory: give memory_limit to have a scene model work in smaller chunks");
  }
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  py::register_local_exception_translator(translate);
  m.def("available_targets", megaseg::available_targets);
  m.def("target", [] { return std::string(megaseg::kernels().name); });
  m.def(
      "compute_types", [](const std::string& target) { return megaseg::compute_types(megaseg::kernels(target)); },
      py::arg("target") = "");
  bind_ops(m);
}
