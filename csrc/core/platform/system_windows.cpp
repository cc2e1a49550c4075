#ifdef _WIN32

#include <windows.h>

#include <algorithm>
#include <new>
#include <vector>

#include "core/platform/system.h"

namespace megaseg {

void* map_pages(std::size_t bytes) {
  void* memory = VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
  if (!memory) throw std::bad_alloc();
  return memory;
}

void unmap_pages(void* memory, std::size_t) { VirtualFree(memory, 0, MEM_RELEASE); }

std::int64_t process_id() { return GetCurrentProcessId(); }

int usable_cores() {
  DWORD bytes = 0;
  GetLogicalProcessorInformation(nullptr, &bytes);
  std::vector<SYSTEM_LOGICAL_PROCESSOR_INFORMATION> parts(bytes / sizeof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION));
  if (!GetLogicalProcessorInformation(parts.data(), &bytes)) return 1;
  const auto cores = std::count_if(parts.begin(), parts.end(),
                                   [](const auto& part) { return part.Relationship == RelationProcessorCore; });
  return std::max(1, static_cast<int>(cores));
}

void require_stacks() {}  // 1 MiB

}  // namespace megaseg

#endif
