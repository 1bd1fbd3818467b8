// SPDX-License-Identifier: MIT
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <new>

namespace emulated_gpu {

/// Pages of memory between two that must not be touched; they end where the upper one begins.
class GuardedMemory {
 public:
  explicit GuardedMemory(std::size_t bytes)
      : page(static_cast<std::size_t>(sysconf(_SC_PAGESIZE)))
      , length((bytes + page - 1) / page * page)
  {
    void *found = mmap(nullptr, length + 2 * page, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (found == MAP_FAILED)
      throw std::bad_alloc();
    first = static_cast<char *>(found);
    if (length > 0 && mprotect(begin(), length, PROT_READ | PROT_WRITE) != 0)
      throw std::bad_alloc();
  }

  GuardedMemory(const GuardedMemory &) = delete;
  GuardedMemory &operator=(const GuardedMemory &) = delete;
  ~GuardedMemory() { munmap(first, length + 2 * page); }

  char *begin() const { return first + page; }
  char *end() const { return begin() + length; }
  std::size_t size() const { return length; }
  bool is_behind(const void *address) const
  {
    const char *place = static_cast<const char *>(address);
    return place >= end() && place < end() + page;
  }

 private:
  std::size_t page, length;
  char *first;
};

}    // namespace emulated_gpu
