#include "core/schedule/sequences.h"

namespace megaseg {

const char* name_of(Sequences::Kind kind) { return kind == Sequences::Kind::windows ? "windows" : "whole"; }

int slot_of(int place, int slots, int length) {
  return static_cast<int>(static_cast<std::int64_t>(place) * slots / length);
}

}  // namespace megaseg
