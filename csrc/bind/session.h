// Arrays as kernels take them, and a target's ops on threads of their own.
#pragma once

#include <pybind11/numpy.h>

#include <initializer_list>
#include <string>

#include "core/error.h"
#include "core/platform/target.h"
#include "core/run/parallel.h"

namespace py = pybind11;

using megaseg::cpu::ConstRows;
using megaseg::cpu::Rows;
using megaseg::cpu::Type;
using Floats = py::array_t<float, py::array::c_style>;
using Ints = py::array_t<std::int32_t, py::array::c_style>;
using Bytes = py::array_t<std::uint8_t, py::array::c_style>;

inline void check(bool fits, const char* what) {
  if (!fits) throw py::value_error(what);
}

inline int size_of(const py::array& array, int axis) { return static_cast<int>(array.shape(axis)); }

// NumPy has no bfloat16: its bits travel as uint16.
inline Type type_of(const py::array& array) {
  if (py::isinstance<py::array_t<float>>(array)) return Type::float32;
  if (py::isinstance<py::array_t<std::uint16_t>>(array)) return Type::bfloat16;
  throw py::type_error("expected float32, or uint16 that holds bfloat16");
}

// A matrix, or more axes of which all but the first two are columns; rows may stand apart, as slices of a wider matrix.
inline ConstRows rows_of(const py::array& array, const char* what) {
  check(array.ndim() > 1, what);
  py::ssize_t inner = array.itemsize();
  for (py::ssize_t axis = array.ndim() - 1; axis > 0; --axis) {
    check(array.size() == 0 || array.shape(axis) == 1 || array.strides(axis) == inner, what);
    inner *= array.shape(axis);
  }
  const py::ssize_t stride = array.shape(0) > 1 ? array.strides(0) : inner;
  check(stride % array.itemsize() == 0 && stride >= 0, what);
  return {array.data(), stride / array.itemsize(), type_of(array), nullptr};
}

// Ops of a target, kept per call: kernels are compared, not raced, through this door.
struct Session {
  megaseg::Ops ops;

  Session(const std::string& target, int num_threads, std::initializer_list<Type> types)
      : ops(megaseg::kernels(target), num_threads) {
    require(types);
  }

  void require(std::initializer_list<Type> types) const {
    for (const Type type : types) {
      if (ops.kernels().types[static_cast<int>(type)]) continue;
      std::string offered;
      for (const std::string& name : megaseg::product_types(ops.kernels())) offered += " " + name;
      throw megaseg::Unsupported("target " + std::string(ops.kernels().name) + " has no " + megaseg::name_of(type) +
                                 ", only" + offered);
    }
  }
};
