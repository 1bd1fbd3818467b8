// SPDX-License-Identifier: MIT
#include "ops/exchange.h"
#include "ops/operator.h"

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

Tensor exchange_cpu(const Tensor &features, const SymInt &num_nodes)
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

Tensor backward_cpu(const Tensor &grad, const SymInt &num_local)
{
  const int64_t rows = num_local.expect_int();
  if (current_handler)
    return current_handler->backward(grad.contiguous(), rows);
  TORCH_CHECK(grad.size(0) == rows,
              "ictp::exchange: the handler was gone before the backward pass");
  return grad.clone();
}

Tensor exchange_meta(const Tensor &features, const SymInt &num_nodes)
{
  check_features(features);
  return at::empty_symint({num_nodes, features.sym_size(1)}, features.options());
}

Tensor call(const char *name, const Tensor &rows, const SymInt &num_rows)
{
  return find_operator<decltype(exchange_cpu)>(name).call(rows, num_rows);
}

constexpr auto FORWARD = "ictp::exchange", BACKWARD = "ictp::exchange_backward";

/// Each of the two operators is the derivative of the other one.
struct Exchange : public torch::autograd::Function<Exchange> {
  static Tensor forward(AutogradContext *context, const Tensor &rows, const SymInt &num_rows,
                        bool is_forward)
  {
    context->saved_data["rows"] = rows.sym_size(0);
    context->saved_data["is_forward"] = is_forward;
    const at::AutoDispatchBelowADInplaceOrView below;
    return call(is_forward ? FORWARD : BACKWARD, rows, num_rows);
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    const bool is_forward = context->saved_data["is_forward"].toBool();
    return {call(is_forward ? BACKWARD : FORWARD, grads[0], context->saved_data["rows"].toSymInt()),
            Tensor(), Tensor()};
  }
};

Tensor exchange_autograd(const Tensor &features, const SymInt &num_nodes)
{
  check_features(features);
  return Exchange::apply(features, num_nodes, true);
}

Tensor backward_autograd(const Tensor &grad, const SymInt &num_local)
{
  return Exchange::apply(grad, num_local, false);
}

/// Handlers work on the CPU, and on the thread that asks for gradients.
Tensor exchange_by_cpu(const Tensor &features, const SymInt &num_nodes)
{
  return call(FORWARD, features.to(at::kCPU), num_nodes).to(features.device());
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY(ictp, library)
{
  library.def("exchange(Tensor features, SymInt num_nodes) -> Tensor");
  library.def("exchange_backward(Tensor grad, SymInt num_local) -> Tensor");
}

TORCH_LIBRARY_IMPL(ictp, CPU, library)
{
  library.impl("exchange", TORCH_FN(ictp::exchange_cpu));
  library.impl("exchange_backward", TORCH_FN(ictp::backward_cpu));
}

TORCH_LIBRARY_IMPL(ictp, Meta, library)
{
  library.impl("exchange", TORCH_FN(ictp::exchange_meta));
  library.impl("exchange_backward", TORCH_FN(ictp::exchange_meta));
}

TORCH_LIBRARY_IMPL(ictp, Autograd, library)
{
  library.impl("exchange", TORCH_FN(ictp::exchange_autograd));
  library.impl("exchange_backward", TORCH_FN(ictp::backward_autograd));
}

TORCH_LIBRARY_IMPL(ictp, CUDA, library)
{
  library.impl("exchange", TORCH_FN(ictp::exchange_by_cpu));
}

TORCH_LIBRARY_IMPL(ictp, AutogradCUDA, library)
{
  library.impl("exchange", TORCH_FN(ictp::exchange_by_cpu));
}
