// SPDX-License-Identifier: MIT
#include "plain_threads.h"

#include <ATen/Parallel.h>
#include <algorithm>
#include <thread>
#include <vector>

// Pieces as PyTorch's OpenMP loop cuts them, each on a thread of its own that is joined at the end.
// Nothing throws in the operators' loops.
void at::internal::invoke_parallel(int64_t begin, int64_t end, int64_t grain_size,
                                   const std::function<void(int64_t, int64_t)> &piece)
{
  const int64_t most = at::divup(end - begin, std::max<int64_t>(grain_size, 1));
  const int64_t size = at::divup(end - begin, std::min<int64_t>(at::get_num_threads(), most));
  std::vector<std::thread> threads;
  for (int64_t first = begin; first < end; first += size)
    threads.emplace_back([&piece, id = static_cast<int>(threads.size()), first, end, size] {
      const ThreadIdGuard guard(id);    // at::get_thread_num(): whose sums are whose
      piece(first, std::min(end, first + size));
    });
  for (auto &thread : threads) thread.join();
}
