#ifdef _WIN32

#include <windows.h>

#include <filesystem>
#include <system_error>

#include "core/error.h"
#include "core/platform/file.h"

namespace megaseg {
namespace {

// The names of files are UTF-8.
std::wstring wide(const std::string& path) {
  return std::filesystem::path(std::u8string(path.begin(), path.end())).wstring();
}

}  // namespace

File::File(const std::string& path, Access access)
    : path_(path),
      handle_(CreateFileW(wide(path).c_str(), access == Access::read ? GENERIC_READ : GENERIC_READ | GENERIC_WRITE,
                          FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr, OPEN_EXISTING,
                          FILE_ATTRIBUTE_NORMAL, nullptr)) {
  if (handle_ == INVALID_HANDLE_VALUE) fail();
}

File::~File() { CloseHandle(handle_); }

void File::fail() const {
  throw BadArtefact(path_ + ": " + std::system_category().message(static_cast<int>(GetLastError())));
}

File::Status File::status() const {
  LARGE_INTEGER size;
  FILETIME time;
  if (!GetFileSizeEx(handle_, &size) || !GetFileTime(handle_, nullptr, nullptr, &time)) fail();
  return {static_cast<std::size_t>(size.QuadPart),
          static_cast<std::int64_t>(time.dwHighDateTime) << 32 | time.dwLowDateTime};
}

void File::write(std::span<const std::byte> data, std::int64_t offset) const {
  OVERLAPPED at{};
  at.Offset = static_cast<DWORD>(offset);
  at.OffsetHigh = static_cast<DWORD>(offset >> 32);
  DWORD written = 0;
  if (!WriteFile(handle_, data.data(), static_cast<DWORD>(data.size()), &written, &at)) fail();
  if (written != data.size()) throw BadArtefact(path_ + ": the disk is full");
}

Mapping::Mapping(const File& file, std::size_t size) : size_(size) {
  void* section = CreateFileMappingW(file.handle_, nullptr, PAGE_READONLY, 0, 0, nullptr);
  if (!section) file.fail();
  void* mapped = MapViewOfFile(section, FILE_MAP_READ, 0, 0, size);
  CloseHandle(section);
  if (!mapped) file.fail();
  data_ = static_cast<std::byte*>(mapped);
}

Mapping::~Mapping() { UnmapViewOfFile(data_); }

}  // namespace megaseg

#endif
