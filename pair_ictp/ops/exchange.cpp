// SPDX-License-Identifier: MIT
#include "ops/exchange.h"
#include "ops/operator.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <utility>

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

using at::Tensor;
using c10::SymInt;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void check_features(const Tensor &features)
{
  TORCH_CHECK(features.dim() == 2, "ictp::exchange: expected features (num_local, width), got ",
              features.sym_sizes());
}

// results are never views of operands: the handler may be gone, the schema is the same

Tensor exchange_cpu(const Tensor &features, SymInt num_nodes)
{
  check_features(features);
  const int64_t rows = num_nodes.expect_int();
  if (current_handler)
    return current_handler->forward(features.contiguous(), rows);
  TORCH_CHECK(rows == features.size(0), "ictp::exchange: ", rows, " nodes but ", features.size(0),
              " rows of features: ghost nodes need the processes that own them, which only LAMMPS "
              "provides; outside it every node must be local");
  return features.clone();
}

Tensor backward_cpu(const Tensor &grad, SymInt num_local)
{
  const int64_t rows = num_local.expect_int();
  if (current_handler)
    return current_handler->backward(grad.contiguous(), rows);
  TORCH_CHECK(grad.size(0) == rows,
              "ictp::exchange: the handler was gone before the backward pass");
  return grad.clone();
}

Tensor exchange_meta(const Tensor &features, SymInt num_nodes)
{
  check_features(features);
  return at::empty_symint({std::move(num_nodes), features.sym_size(1)}, features.options());
}

// each of the two is the derivative of the other one
const Operator<decltype(exchange_cpu)> FORWARD("ictp::exchange");
const Operator<decltype(exchange_cpu)> BACKWARD("ictp::exchange_backward");

struct Exchange : public torch::autograd::Function<Exchange> {
  static Tensor forward(AutogradContext *context, const Tensor &rows, const SymInt &num_rows,
                        bool is_forward)
  {
    context->saved_data["num_rows"] = rows.sym_size(0);
    context->saved_data["is_forward"] = is_forward;
    return (is_forward ? FORWARD : BACKWARD).below_autograd(rows, num_rows);
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    const bool was_forward = context->saved_data["is_forward"].toBool();
    const SymInt num_rows = context->saved_data["num_rows"].toSymInt();
    return {(was_forward ? BACKWARD : FORWARD)(grads[0], num_rows), Tensor(), Tensor()};
  }
};

Tensor exchange_autograd(const Tensor &features, SymInt num_nodes)
{
  check_features(features);
  return Exchange::apply(features, num_nodes, true);
}

Tensor backward_autograd(const Tensor &grad, SymInt num_local)
{
  return Exchange::apply(grad, num_local, false);
}

/// Handlers work on the CPU, and on the thread that asks for gradients.
Tensor exchange_cuda(const Tensor &features, SymInt num_nodes)
{
  return FORWARD(features.to(at::kCPU), std::move(num_nodes)).to(features.device());
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY(ictp, library)
{
  using c10::DispatchKey, torch::dispatch;
  library.def("exchange(Tensor features, SymInt num_nodes) -> Tensor");
  library.def("exchange_backward(Tensor grad, SymInt num_local) -> Tensor");
  library.impl("exchange", dispatch(DispatchKey::CPU, TORCH_FN(ictp::exchange_cpu)));
  library.impl("exchange", dispatch(DispatchKey::Autograd, TORCH_FN(ictp::exchange_autograd)));
  library.impl("exchange_backward", dispatch(DispatchKey::CPU, TORCH_FN(ictp::backward_cpu)));
  library.impl("exchange_backward",
               dispatch(DispatchKey::Autograd, TORCH_FN(ictp::backward_autograd)));
  for (const char *name : {"exchange", "exchange_backward"})
    library.impl(name, dispatch(DispatchKey::Meta, TORCH_FN(ictp::exchange_meta)));
  for (const auto key : {DispatchKey::CUDA, DispatchKey::AutogradCUDA})
    library.impl("exchange", dispatch(key, TORCH_FN(ictp::exchange_cuda)));
}
