// A compiled model's file: header, metadata (JSON), program (32-bit words), packed weights. Mapped, never copied:
// processes that load the same file share its pages. docs/formats.md describes it byte by byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace megaseg {

class Artefact {
 public:
  // Throws BadArtefact, naming the path: not an artefact, another version, truncated, or a checksum that does not fit.
  explicit Artefact(const std::string& path);
  ~Artefact();
  Artefact(const Artefact&) = delete;
  Artefact& operator=(const Artefact&) = delete;

  const std::string& path() const { return path_; }
  std::string metadata() const;
  std::span<const std::uint32_t> program() const;
  std::span<const std::byte> weights() const;

 private:
  struct Header;
  const Header& header() const;
  void check() const;

  std::string path_;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Writes the checksum of a file that is complete but for it. Throws BadArtefact.
void seal_artefact(const std::string& path);

}  // namespace megaseg
