#ifndef _WIN32

#include <sys/mman.h>
#include <unistd.h>

#include <initializer_list>
#include <new>

#include "core/platform/system.h"

#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

namespace megaseg {

void* map_pages(std::size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: without it everything works, in small pages
#endif
  return memory;
}

void unmap_pages(void* memory, std::size_t bytes) { munmap(memory, bytes); }

std::int64_t process_id() { return getpid(); }

#ifdef __APPLE__
void require_stacks() {}  // 512 KiB

int usable_cores() {
  for (const char* name : {"hw.perflevel0.physicalcpu", "hw.physicalcpu"}) {
    int cores = 0;
    std::size_t size = sizeof cores;
    if (sysctlbyname(name, &cores, &size, nullptr, 0) == 0 && cores > 0) return cores;
  }
  return 1;
}
#endif

}  // namespace megaseg

#endif
