// Files as the systems have them: opened, mapped, asked for their size and time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace megaseg {

// An open file, closed at its end. Every call throws BadArtefact, naming the path.
class File {
 public:
  enum class Access { read, write };

  File(const std::string& path, Access access);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  struct Status {
    std::size_t size;
    std::int64_t modified;  // nanoseconds; on Windows hundreds of them, from 1601 on

    bool operator==(const Status&) const = default;
  };
  Status status() const;
  void write(std::span<const std::byte> data, std::int64_t offset) const;

 private:
  friend class Mapping;
  [[noreturn]] void fail() const;  // with the system's last error

  std::string path_;
#ifdef _WIN32
  void* handle_;
#else
  int handle_;
#endif
};

// The first `size` bytes of a file, read from the pages that all its readers share. It needs the file no longer.
class Mapping {
 public:
  Mapping(const File& file, std::size_t size);  // throws BadArtefact
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* data_;
  std::size_t size_;
};

}  // namespace megaseg
