// SPDX-License-Identifier: MIT
#pragma once

// Included before ATen's headers: at::parallel_for then calls at::internal::invoke_parallel of
// plain_threads.cpp, with threads that ThreadSanitizer knows.

#include <ATen/Config.h>

#undef AT_PARALLEL_OPENMP
#undef AT_PARALLEL_NATIVE
#define AT_PARALLEL_OPENMP 0
#define AT_PARALLEL_NATIVE 1
