#pragma once

#include <pybind11/pybind11.h>

// The ops of a GPU on addresses of its memory. A build without CUDA has cuda_architectures alone, which is empty then.
void bind_cuda(pybind11::module_& m);
