#pragma once

#include <stdexcept>

namespace megaseg {

// A target, compute type or situation that cannot be served here; the message lists what can.
struct Unsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The work does not fit the given memory limit.
struct ResourceLimit : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Features that the model cannot run on: some outputs are not finite, or ids have no row in a table.
struct BadFeatures : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A file that is not a whole artefact of this version.
struct BadArtefact : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace megaseg
