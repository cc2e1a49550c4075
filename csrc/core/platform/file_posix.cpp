#ifndef _WIN32

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "core/platform/file.h"

namespace megaseg {
namespace {

#ifdef MAP_POPULATE
constexpr int kShared = MAP_SHARED | MAP_POPULATE;
#else
constexpr int kShared = MAP_SHARED;
#endif

}  // namespace

// A pipe must not block.
File::File(const std::string& path, Access access)
    : path_(path), handle_(open(path.c_str(), (access == Access::read ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK)) {
  if (handle_ < 0) fail();
}

File::~File() { close(handle_); }

void File::fail() const { throw BadArtefact(path_ + ": " + std::strerror(errno)); }

File::Status File::status() const {
  struct stat status{};
  if (fstat(handle_, &status) != 0) fail();
#ifdef __APPLE__
  const timespec time = status.st_mtimespec;
#else
  const timespec time = status.st_mtim;
#endif
  return {static_cast<std::size_t>(status.st_size), std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec};
}

void File::write(std::span<const std::byte> data, std::int64_t offset) const {
  if (pwrite(handle_, data.data(), data.size(), offset) != static_cast<ssize_t>(data.size())) fail();
}

Mapping::Mapping(const File& file, std::size_t size) : size_(size) {
  void* mapped = mmap(nullptr, size, PROT_READ, kShared, file.handle_, 0);
  if (mapped == MAP_FAILED) file.fail();
  data_ = static_cast<std::byte*>(mapped);
}

Mapping::~Mapping() { munmap(data_, size_); }

}  // namespace megaseg

#endif
