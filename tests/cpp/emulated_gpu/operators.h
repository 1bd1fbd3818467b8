// SPDX-License-Identifier: MIT
#pragma once

// Before the sources that register operators on a GPU: with these names they register them for
// tensors on the CPU, in the namespace that the build calls `ictp`. PyTorch's own use of the name
// CUDA must come first.

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#define CUDA CPU
