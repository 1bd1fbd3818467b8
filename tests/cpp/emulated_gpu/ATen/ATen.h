// SPDX-License-Identifier: MIT
#pragma once

// In the place of PyTorch's header of this name, which declares every operator and takes as long to
// compile as all the rest: those that the sources in ops/cuda and what they include call.

#include <ATen/core/Tensor.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
