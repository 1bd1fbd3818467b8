// SPDX-License-Identifier: MIT
#ifndef ICTP_KNOWN_H
#define ICTP_KNOWN_H

#include "ops/known_tables.h"

// Tables that the compiler knows, by their number in a list of known_tables.h.

namespace ictp {

constexpr int NOT_KNOWN = -1;

/// start(table) with the one of this number, which the list has.
template <typename List, std::size_t K = 0, typename Start>
auto with_known(int number, Start start)
{
  if constexpr (K + 1 < std::tuple_size_v<List>)
    if (number != static_cast<int>(K))
      return with_known<List, K + 1>(number, start);
  return start(std::tuple_element_t<K, List>{});
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
