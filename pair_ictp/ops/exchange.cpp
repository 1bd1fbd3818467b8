// SPDX-License-Identifier: MIT
#include "ops/exchange.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace ictp {

static thread_local ExchangeHandler *current_handler = nullptr;

ExchangeScope::ExchangeScope(ExchangeHandler *handler)
    : previous(current_handler)
{
  current_handler = handler;
}

ExchangeScope::~ExchangeScope()
{
  current_handler = previous;
}

namespace {

struct Exchange : public torch::autograd::Function<Exchange> {
  static at::Tensor forward(torch::autograd::AutogradContext *context, const at::Tensor &local,
                            int64_t num_nodes)
  {
    context->saved_data["num_local"] = local.size(0);
    return current_handler->forward(local.contiguous(), num_nodes);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *context,
                                                 torch::autograd::variable_list gradients)
  {
    TORCH_CHECK(current_handler, "ictp::exchange: the handler was gone before the backward pass");
    const int64_t num_local = context->saved_data["num_local"].toInt();
    return {current_handler->backward(gradients[0].contiguous(), num_local), at::Tensor()};
  }
};

at::Tensor exchange(const at::Tensor &features, int64_t num_nodes)
{
  TORCH_CHECK(features.dim() == 2, "ictp::exchange: expected features (num_local, width), got ",
              features.sizes());
  if (current_handler)
    return Exchange::apply(features.to(at::kCPU), num_nodes).to(features.device());
  TORCH_CHECK(num_nodes == features.size(0), "ictp::exchange: ", num_nodes, " nodes but ",
              features.size(0),
              " rows of features: ghost nodes need the processes that own them, which only LAMMPS "
              "provides; outside it every node must be local");
  return features;
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY(ictp, library)
{
  library.def("exchange(Tensor features, int num_nodes) -> Tensor");
  library.impl("exchange", torch::dispatch(c10::DispatchKey::CompositeImplicitAutograd,
                                           TORCH_FN(ictp::exchange)));
}
