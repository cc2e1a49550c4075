#pragma once

#include <pybind11/pybind11.h>

// The classes Plan and RowCache, and the names of all ops.
void bind_plan(pybind11::module_& m);
