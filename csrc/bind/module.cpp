// The Python module megaseg._C: argument checks, GIL release, nothing else.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

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
  }
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  py::register_local_exception_translator(translate);
  m.def("available_targets", megaseg::available_targets);
  m.def("target", [] { return std::string(megaseg::kernels().name); });
}
