// A compiled model's file: header, metadata (JSON), program (32-bit words), packed weights. Mapped, never copied:
// processes that load the same file share its pages. docs/formats.md describes it byte by byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/platform/file.h"

namespace megaseg {

class Artefact {
 public:
  // Throws BadArtefact, naming the path: not an artefact, another version, truncated, or a checksum that does not fit.
  // A file that is truncated by another process while it is mapped ends this one (SIGBUS).
  explicit Artefact(const std::string& path);
  Artefact(const Artefact&) = delete;
  Artefact& operator=(const Artefact&) = delete;

  // Throws BadArtefact when the file was written to since it was opened: what is mapped is then another model, or part
  // of one. Replacing it by rename is no such change. Costs one fstat.
  void require_unchanged() const;

  const std::string& path() const { return path_; }
  const std::string& metadata() const { return metadata_; }
  std::span<const std::uint32_t> program() const;
  std::span<const std::byte> weights() const { return weights_; }

 private:
  struct Header;
  static std::size_t require_header(const File::Status& status, const std::string& path);  // returns the size
  const Header& header() const;
  void check() const;

  std::string path_;
  File file_;
  File::Status status_;
  Mapping map_;
  // Known from the load on: nothing outside a run reads the map, which a truncation takes away.
  std::string metadata_;
  std::span<const std::byte> weights_;
};

// Writes the checksum of a file that is complete but for it. Throws BadArtefact.
void seal_artefact(const std::string& path);

}  // namespace megaseg
