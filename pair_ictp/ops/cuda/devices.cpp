// SPDX-License-Identifier: MIT
#include "ops/cuda/devices.h"

#include <torch/library.h>

// The question is asked of a tensor, not of the build: TorchScript would answer the latter when a
// model is exported, and keep that answer in the file.

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  library.def("serves(Tensor x) -> bool");
  library.impl("serves", torch::dispatch(c10::DispatchKey::CompositeImplicitAutograd,
                                         TORCH_FN(ictp::serves)));
}
