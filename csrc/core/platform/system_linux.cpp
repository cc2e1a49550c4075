#ifdef __linux__

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <string>

#include "core/platform/system.h"

namespace megaseg {
namespace {

// CPUs' worth of time that the cgroup grants, or infinity.
double cgroup_quota() {
  double quota = INFINITY;
  std::string first;
  double period = 0;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> first >> period && first != "max") {
    quota = std::stod(first) / period;
  }
  double limit = 0;
  std::ifstream v1("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (v1 >> limit && v1_period >> period && limit > 0 && period > 0) quota = std::min(quota, limit / period);
  return quota;
}

}  // namespace

int usable_cores() {
  cpu_set_t affinity;
  CPU_ZERO(&affinity);
  if (sched_getaffinity(0, sizeof affinity, &affinity) != 0) return 1;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &affinity)) continue;
    std::string siblings;
    std::ifstream("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list") >> siblings;
    cores.insert(siblings.empty() ? std::to_string(cpu) : siblings);
  }
  const double available = std::min(static_cast<double>(cores.size()), std::ceil(cgroup_quota()));
  return std::max(1, static_cast<int>(available));
}

void require_stacks() {
#ifndef __GLIBC__
  constexpr std::size_t kLeast = 1 << 20;
  pthread_attr_t attributes;
  if (pthread_getattr_default_np(&attributes) != 0) return;
  std::size_t size = 0;
  pthread_attr_getstacksize(&attributes, &size);
  if (size >= kLeast) return;
  pthread_attr_setstacksize(&attributes, kLeast);
  pthread_setattr_default_np(&attributes);
#endif
}

}  // namespace megaseg

#endif
