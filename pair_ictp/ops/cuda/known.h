// SPDX-License-Identifier: MIT
#ifndef ICTP_CUDA_KNOWN_H
#define ICTP_CUDA_KNOWN_H

#include "ops/cuda/known_tables.h"

#include <cuda_runtime_api.h>

// Tables that the compiler knows, by their number in a list of known_tables.h.

namespace ictp {

constexpr int NOT_KNOWN = -1;

/// Calls start(table) with the one of this number.
template <typename List, std::size_t K = 0, typename Start>
cudaError_t with_known(int number, Start start)
{
  if constexpr (K < std::tuple_size_v<List>) {
    if (number == static_cast<int>(K))
      return start(std::tuple_element_t<K, List>{});
    return with_known<List, K + 1>(number, start);
  } else {
    return cudaErrorInvalidValue;
  }
}

/// The number of the first table for which is_same(table); NOT_KNOWN if there is none.
template <typename List, std::size_t K = 0, typename Same>
int find_known(Same is_same)
{
  if constexpr (K < std::tuple_size_v<List>) {
    if (is_same(std::tuple_element_t<K, List>{}))
      return static_cast<int>(K);
    return find_known<List, K + 1>(is_same);
  } else {
    return NOT_KNOWN;
  }
}

}    // namespace ictp

#endif
