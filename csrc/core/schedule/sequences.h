// How the shots of a movie become the sequences that a model sees.
#pragma once

#include <cstdint>

namespace megaseg {

struct Sequences {
  enum class Kind : std::uint32_t {
    windows,  // one centred on every shot: beyond either end the shot at the end is repeated
    whole,    // all shots as one
  };

  Kind kind;
  int length;  // of a window, odd; or the most shots of a whole sequence
  int step;    // shots from window to window: 1; 0 for a whole sequence

  bool windowed() const { return kind == Kind::windows; }
  int half() const { return length / 2; }
};
inline constexpr std::uint32_t kSequenceKinds = 2;

// "windows" or "whole".
const char* name_of(Sequences::Kind kind);

// The slot that a position of a sequence is aligned to: floor(place * slots / length).
int slot_of(int place, int slots, int length);

}  // namespace megaseg
