#include "core/artefact.h"

#include <cstddef>
#include <cstring>

#include "core/checksum.h"
#include "core/error.h"

namespace megaseg {

// Little-endian; offsets from the start of the file.
struct Artefact::Header {
  char magic[8];
  std::uint32_t version;
  std::uint32_t checksum;  // of everything after it
  std::uint64_t size;      // of the file
  std::uint64_t metadata_offset;
  std::uint64_t metadata_size;
  std::uint64_t program_offset;
  std::uint64_t program_size;
  std::uint64_t weights_offset;
  std::uint64_t weights_size;
};

namespace {

constexpr char kMagic[8] = {'m', 'e', 'g', 'a', 's', 'e', 'g', '\0'};
constexpr std::uint32_t kVersion = 7;
constexpr std::size_t kSummed = 16;  // the checksum covers the bytes from here on

}  // namespace

std::size_t Artefact::require_header(const File::Status& status, const std::string& path) {
  if (status.size >= sizeof(Header)) return status.size;
  throw BadArtefact(path + ": expected a compiled model, got " + std::to_string(status.size) + " bytes");
}

Artefact::Artefact(const std::string& path)
    : path_(path),
      file_(path, File::Access::read),
      status_(file_.status()),
      map_(file_, require_header(status_, path)) {
  check();
  metadata_.assign(reinterpret_cast<const char*>(map_.data() + header().metadata_offset), header().metadata_size);
  weights_ = {map_.data() + header().weights_offset, header().weights_size};
  require_unchanged();
}

void Artefact::require_unchanged() const {
  if (file_.status() != status_) {
    throw BadArtefact(path_ +
                      ": changed on disk since it was loaded: replace compiled models by rename, and load again");
  }
}

const Artefact::Header& Artefact::header() const { return *reinterpret_cast<const Header*>(map_.data()); }

void Artefact::check() const {
  const Header& h = header();
  const auto refuse = [&](const std::string& what) { throw BadArtefact(path_ + ": " + what); };
  if (std::memcmp(h.magic, kMagic, sizeof kMagic) != 0) refuse("expected a compiled model (.mseg), got another file");
  if (h.version != kVersion) {
    refuse("expected artefact version " + std::to_string(kVersion) + ", got " + std::to_string(h.version) +
           "; compile the checkpoint again: megaseg compile");
  }
  if (h.size != map_.size()) {
    refuse("expected " + std::to_string(h.size) + " bytes, got " + std::to_string(map_.size()) +
           ": the file is not whole");
  }
  if (h.checksum != checksum({map_.data() + kSummed, map_.size() - kSummed}))
    refuse("the checksum does not fit: corrupt file");
  const auto inside = [&](std::uint64_t offset, std::uint64_t size, std::uint64_t align) {
    return offset % align == 0 && offset <= map_.size() && size <= map_.size() - offset;
  };
  if (!inside(h.metadata_offset, h.metadata_size, 1) || !inside(h.program_offset, h.program_size, 4) ||
      !inside(h.weights_offset, h.weights_size, 64)) {
    refuse("expected sections within the file");
  }
}

std::span<const std::uint32_t> Artefact::program() const {
  return {reinterpret_cast<const std::uint32_t*>(map_.data() + header().program_offset), header().program_size / 4};
}

void seal_artefact(const std::string& path) {
  const File file(path, File::Access::write);
  const std::size_t size = file.status().size;
  if (size < kSummed) throw BadArtefact(path + ": expected a header");
  constexpr std::int64_t kChecksumOffset = 12;
  const Mapping map(file, size);
  const std::uint32_t sum = checksum({map.data() + kSummed, size - kSummed});
  file.write(std::as_bytes(std::span(&sum, 1)), kChecksumOffset);
}

}  // namespace megaseg
