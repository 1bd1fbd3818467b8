// SPDX-License-Identifier: MIT
#include "ops/operator.h"

#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <string>

namespace ictp {
namespace {

/// Whether an operator computes where a tensor is. The question is asked of a tensor, not of the
/// build: TorchScript would answer the latter when a model is exported, and keep that answer.
bool serves(const at::Tensor &x, const std::string &name)
{
  return is_served(("ictp::" + name + "_forward").c_str(), x.device());
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  library.def("serves(Tensor x, str name=\"table_convolution\") -> bool");
  library.impl("serves", torch::dispatch(c10::DispatchKey::CompositeImplicitAutograd,
                                         TORCH_FN(ictp::serves)));
}
