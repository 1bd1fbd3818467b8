// SPDX-License-Identifier: MIT
#ifndef ICTP_INSTRUCTION_SET_H
#define ICTP_INSTRUCTION_SET_H

#include <cstdlib>
#include <string_view>
#include <type_traits>

namespace ictp {

/// The best of three builds of the same loops that this machine can run, or the lesser one that the
/// environment variable ICTP_INSTRUCTION_SET (baseline, avx2) asks for: to test it, or to compare
/// machines.
#if defined(__x86_64__)
template <typename KernelSet>
const KernelSet &best_of(const KernelSet &baseline, const KernelSet &avx2, const KernelSet &avx512)
{
  const char *value = std::getenv("ICTP_INSTRUCTION_SET");
  const std::string_view asked = value ? value : "";
  if (asked == "baseline" || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
    return baseline;
  if (asked == "avx2" || !__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq"))
    return avx2;
  return avx512;
}
#define ICTP_BEST_OF(kernels) best_of(kernels##_baseline, kernels##_avx2, kernels##_avx512)
#else
#define ICTP_BEST_OF(kernels) kernels##_baseline    // the only one that is built
#endif

/// The kernels of a set for float or double.
template <typename T, typename KernelSet>
const auto &of_type(const KernelSet &set)
{
  if constexpr (std::is_same_v<T, float>)
    return set.single;
  else
    return set.full;
}

}    // namespace ictp

#endif
