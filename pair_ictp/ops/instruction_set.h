// SPDX-License-Identifier: MIT
#ifndef ICTP_INSTRUCTION_SET_H
#define ICTP_INSTRUCTION_SET_H

#include <cstdlib>
#include <string_view>

namespace ictp {

/// The best of three builds of the same loops that this machine can run, or the lesser one that the
/// environment variable ICTP_INSTRUCTION_SET (baseline, avx2) asks for: to test it, or to compare
/// machines.
template <typename Kernels>
const Kernels &best_of(const Kernels &baseline, [[maybe_unused]] const Kernels *avx2,
                       [[maybe_unused]] const Kernels *avx512)
{
#if defined(__x86_64__)
  const char *value = std::getenv("ICTP_INSTRUCTION_SET");
  const std::string_view asked = value ? value : "";
  if (asked != "baseline" && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    if (asked != "avx2" && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
      return *avx512;
    return *avx2;
  }
#endif
  return baseline;
}

}    // namespace ictp

#endif
