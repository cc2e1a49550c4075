#pragma once

#include <pybind11/pybind11.h>

// The kernels one by one, on a named target: for tests and benchmarks.
void bind_ops(pybind11::module_& m);

// Those on lists of movies.
void bind_movies(pybind11::module_& m);
