// What the operating system is asked for besides files: pages, processes, cores.
#pragma once

#include <cstddef>
#include <cstdint>

namespace megaseg {

// Whole pages of zeros, huge ones where the system grants them. Throws std::bad_alloc.
void* map_pages(std::size_t bytes);
void unmap_pages(void* memory, std::size_t bytes);

std::int64_t process_id();

// Physical cores that this process may use: of Linux affinity, hyper-threads counted once, and the cgroup's CPU quota;
// of macOS the fast ones.
int usable_cores();

// Threads that start from now on have room for a kernel's rows: musl gives them 128 KiB unless told otherwise.
void require_stacks();

}  // namespace megaseg
