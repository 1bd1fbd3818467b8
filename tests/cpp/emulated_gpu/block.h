// SPDX-License-Identifier: MIT
#pragma once

// A GPU with one multiprocessor, which runs the blocks of a kernel one after the other and the
// threads of a block in turns, each as far as it comes without the others.

#include "cuda_runtime_api.h"

#include <cstddef>
#include <cstdint>
#include <functional>

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

extern dim3 threadIdx, blockIdx, blockDim, gridDim;    // of the thread whose turn it is

namespace emulated_gpu {

/// Runs `body` in each thread of each block. Throws std::runtime_error where a thread waits for one
/// that does not come, or touches what is behind the memory of its block.
cudaError_t launch(const void *kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
                   const std::function<void()> &body);

// What threads call.

void meet_block();
void meet_warp(unsigned lanes);
/// The bits of the lane whose number differs in these bits.
uint64_t swap_with_lane(unsigned lanes, uint64_t bits, int distance);
/// As many bytes as the launch asked for: all NaN when a block begins, with an address behind them
/// that must not be touched.
double *block_memory();

}    // namespace emulated_gpu

extern "C" {

/// seed: 0 gives threads their turns in the order of their numbers, any other in a random one;
/// shared_bytes: what a block may have at most.
__attribute__((visibility("default"))) void emulated_gpu_set(uint64_t seed, int shared_bytes);

/// What every launch ends with from now on; 0: nothing is wrong.
__attribute__((visibility("default"))) void emulated_gpu_refuse(int status);

/// Blocks run since the library was loaded.
__attribute__((visibility("default"))) uint64_t emulated_gpu_num_blocks();
}
