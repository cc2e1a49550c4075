// The last fusion layer of a scene model, reduced to each window's centre row: nothing else of it is ever read.
#pragma once

#include <optional>

#include "core/encoder.h"

namespace megaseg {

// Either q and kv, or the folded form.
struct CentreLayer {
  Linear q;
  Linear kv;
  std::optional<FoldedQuery> folded;
  LayerTail tail;

  std::size_t bytes() const { return q.bytes() + kv.bytes() + tail.bytes() + (folded ? folded->bytes() : 0); }
};

// What the centre rows attend to.
struct WindowTokens {
  const float* bottleneck_rows;  // [windows, bottlenecks, C]
  const float* latent_rows;      // [windows, latents, C]
  int windows;
  int bottlenecks;
  int latents;
};

std::size_t centre_workspace(const Ops& ops, const EncoderShape& shape, int windows, int bottlenecks, int latents);

// `centre` [windows, C], rows of the latents themselves, in place.
void run_centre_layer(Ops& ops, const EncoderShape& shape, const CentreLayer& layer, const WindowTokens& tokens,
                      Matrix centre, float* workspace);

}  // namespace megaseg
