// How long the values of a program live, whatever their sizes, and which rows of shots outlive a chunk.
#pragma once

#include <cstddef>
#include <vector>

#include "core/program/program.h"

namespace megaseg {

class Lifetimes {
 public:
  explicit Lifetimes(const Program& program);

  // The value whose memory a selection looks into; itself for all others.
  int base(int value) const { return base_[static_cast<std::size_t>(value)]; }
  // A selection that begins where its memory does: prefix tokens, or the only prefix token of every sequence.
  bool front(int value) const { return front_[static_cast<std::size_t>(value)]; }
  // Step after which nobody reads the memory of a value; the number of steps for outputs and their parts.
  std::size_t end(int value) const { return end_[static_cast<std::size_t>(base(value))]; }
  // Features, which stay in the caller's memory.
  bool features(int value) const { return features_[static_cast<std::size_t>(value)]; }
  // Has memory in the workspace: neither features nor a selection.
  bool stored(int value) const { return base(value) == value && !features(value); }
  // Rows of shots that other rows are made of: cached for the windows to come.
  bool cached(int value) const { return cached_[static_cast<std::size_t>(value)]; }

  // Where the row of each cached value lies in a shot's record.
  struct Row {
    int value;
    std::size_t offset;
    std::size_t bytes;
  };
  const std::vector<Row>& cached_rows() const { return cached_rows_; }
  std::size_t record_bytes() const { return record_bytes_; }
  // Windows are made of cached rows alone, not of features too.
  bool cacheable() const { return cacheable_; }

 private:
  void find_cached(const Program& program);

  std::vector<int> base_;
  std::vector<bool> front_;
  std::vector<std::size_t> end_;
  std::vector<bool> features_;
  std::vector<bool> cached_;
  std::vector<Row> cached_rows_;
  std::size_t record_bytes_ = 0;
  bool cacheable_;
};

}  // namespace megaseg
