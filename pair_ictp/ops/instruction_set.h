// SPDX-License-Identifier: MIT
#ifndef ICTP_INSTRUCTION_SET_H
#define ICTP_INSTRUCTION_SET_H

namespace ictp {

/// The best of three builds of the same loops that this machine can run.
template <typename Kernels>
const Kernels &best_of(const Kernels &baseline, [[maybe_unused]] const Kernels *avx2,
                       [[maybe_unused]] const Kernels *avx512)
{
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
    return *avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return *avx2;
#endif
  return baseline;
}

}    // namespace ictp

#endif
