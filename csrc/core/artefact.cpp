#include "core/artefact.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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

struct stat status_of(int file, const std::string& path) {
  struct stat status{};
  if (fstat(file, &status) != 0) throw BadArtefact(path + ": " + std::strerror(errno));
  return status;
}

std::int64_t modified(const struct stat& status) {
  return std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

}  // namespace

// A pipe must not block.
File::File(const std::string& path, int flags) : descriptor_(open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK)) {
  if (descriptor_ < 0) throw BadArtefact(path + ": " + std::strerror(errno));
}

File::~File() { close(descriptor_); }

Artefact::Artefact(const std::string& path) : path_(path), file_(path, O_RDONLY) {
  const struct stat status = status_of(file_, path);
  modified_ = modified(status);
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ < sizeof(Header))
    throw BadArtefact(path + ": expected a compiled model, got " + std::to_string(size_) + " bytes");
  void* mapped = mmap(nullptr, size_, PROT_READ, MAP_SHARED | MAP_POPULATE, file_, 0);
  if (mapped == MAP_FAILED) throw BadArtefact(path + ": " + std::strerror(errno));
  data_ = static_cast<std::byte*>(mapped);
  try {
    check();
    metadata_.assign(reinterpret_cast<const char*>(data_ + header().metadata_offset), header().metadata_size);
    weights_ = {data_ + header().weights_offset, header().weights_size};
    require_unchanged();
  } catch (...) {
    munmap(data_, size_);
    throw;
  }
}

Artefact::~Artefact() { munmap(data_, size_); }

void Artefact::require_unchanged() const {
  const struct stat status = status_of(file_, path_);
  if (static_cast<std::size_t>(status.st_size) != size_ || modified(status) != modified_) {
    throw BadArtefact(path_ +
                      ": changed on disk since it was loaded: replace compiled models by rename, and load again");
  }
}

const Artefact::Header& Artefact::header() const { return *reinterpret_cast<const Header*>(data_); }

void Artefact::check() const {
  const Header& h = header();
  const auto refuse = [&](const std::string& what) { throw BadArtefact(path_ + ": " + what); };
  if (std::memcmp(h.magic, kMagic, sizeof kMagic) != 0) refuse("expected a compiled model (.mseg), got another file");
  if (h.version != kVersion) {
    refuse("expected artefact version " + std::to_string(kVersion) + ", got " + std::to_string(h.version) +
           "; compile the checkpoint again: megaseg compile");
  }
  if (h.size != size_) {
    refuse("expected " + std::to_string(h.size) + " bytes, got " + std::to_string(size_) + ": the file is not whole");
  }
  if (h.checksum != checksum({data_ + kSummed, size_ - kSummed})) refuse("the checksum does not fit: corrupt file");
  const auto inside = [&](std::uint64_t offset, std::uint64_t size, std::uint64_t align) {
    return offset % align == 0 && offset <= size_ && size <= size_ - offset;
  };
  if (!inside(h.metadata_offset, h.metadata_size, 1) || !inside(h.program_offset, h.program_size, 4) ||
      !inside(h.weights_offset, h.weights_size, 64)) {
    refuse("expected sections within the file");
  }
}

std::span<const std::uint32_t> Artefact::program() const {
  return {reinterpret_cast<const std::uint32_t*>(data_ + header().program_offset), header().program_size / 4};
}

void seal_artefact(const std::string& path) {
  const File file(path, O_RDWR);
  const auto size = static_cast<std::size_t>(status_of(file, path).st_size);
  if (size < kSummed) throw BadArtefact(path + ": expected a header");
  void* mapped = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) throw BadArtefact(path + ": " + std::strerror(errno));
  const std::uint32_t sum = checksum({static_cast<std::byte*>(mapped) + kSummed, size - kSummed});
  munmap(mapped, size);
  constexpr off_t kChecksumOffset = 12;
  if (pwrite(file, &sum, sizeof sum, kChecksumOffset) != sizeof sum)
    throw BadArtefact(path + ": " + std::strerror(errno));
}

}  // namespace megaseg
