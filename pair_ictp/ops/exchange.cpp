// SPDX-License-Identifier: MIT
#include "ops/exchange.h"
#include "ops/operator.h"

#include <ATen/ATen.h>
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

Tensor ghosts_cpu(const Tensor &asked, SymInt num_ghosts)
{
  if (current_handler)
    return current_handler->forward(asked.contiguous(), num_ghosts.expect_int());
  TORCH_CHECK(num_ghosts == 0, "ictp::exchange: expected the processes that own ghost nodes");
  return at::empty({0, asked.size(1)}, asked.options());
}

Tensor backward_cpu(const Tensor &grad, SymInt num_asked)
{
  if (current_handler)
    return current_handler->backward(grad.contiguous(), num_asked.expect_int());
  TORCH_CHECK(grad.size(0) == 0, "ictp::exchange: the handler was gone before the backward pass");
  return at::zeros({num_asked.expect_int(), grad.size(1)}, grad.options());
}

Tensor exchange_meta(const Tensor &rows, SymInt num_rows)
{
  return at::empty_symint({std::move(num_rows), rows.sym_size(1)}, rows.options());
}

// each of the two is the derivative of the other one
const Operator<decltype(ghosts_cpu)> FORWARD("ictp::exchange_ghosts");
const Operator<decltype(ghosts_cpu)> BACKWARD("ictp::exchange_ghosts_backward");

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

Tensor ghosts_autograd(const Tensor &asked, SymInt num_ghosts)
{
  return Exchange::apply(asked, num_ghosts, true);
}

Tensor backward_autograd(const Tensor &grad, SymInt num_asked)
{
  return Exchange::apply(grad, num_asked, false);
}

/// Features stay where they are: only the rows at the boundary go through the CPU, as handlers work
/// there, on the thread that asks for gradients. The result is never a view of the features,
/// whether there is a handler or not.
Tensor exchange(const Tensor &features, SymInt num_nodes)
{
  TORCH_CHECK(features.dim() == 2, "ictp::exchange: expected features (num_local, width), got ",
              features.sym_sizes());
  if (!current_handler) {
    TORCH_CHECK(num_nodes == features.sym_size(0), "ictp::exchange: ", num_nodes, " nodes but ",
                features.sym_size(0),
                " rows of features: ghost nodes need the processes that own them, which only "
                "LAMMPS provides; outside it every node must be local");
    return features.clone();
  }
  Tensor asked = features.index_select(0, current_handler->asked_for(features.device()));
  if (!asked.is_cpu())
    asked =
        at::empty(asked.sizes(), asked.options().device(at::kCPU).pinned_memory(true)).copy_(asked);
  const Tensor ghosts = FORWARD(asked, num_nodes - features.sym_size(0));
  return at::cat({features, ghosts.to(features.device())});
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY(ictp, library)
{
  using c10::DispatchKey, torch::dispatch;
  library.def("exchange(Tensor features, SymInt num_nodes) -> Tensor");
  library.def("exchange_ghosts(Tensor asked, SymInt num_ghosts) -> Tensor");
  library.def("exchange_ghosts_backward(Tensor grad, SymInt num_asked) -> Tensor");
  library.impl("exchange",
               dispatch(DispatchKey::CompositeImplicitAutograd, TORCH_FN(ictp::exchange)));
  library.impl("exchange_ghosts", dispatch(DispatchKey::CPU, TORCH_FN(ictp::ghosts_cpu)));
  library.impl("exchange_ghosts", dispatch(DispatchKey::Autograd, TORCH_FN(ictp::ghosts_autograd)));
  library.impl("exchange_ghosts_backward",
               dispatch(DispatchKey::CPU, TORCH_FN(ictp::backward_cpu)));
  library.impl("exchange_ghosts_backward",
               dispatch(DispatchKey::Autograd, TORCH_FN(ictp::backward_autograd)));
  for (const char *name : {"exchange_ghosts", "exchange_ghosts_backward"})
    library.impl(name, dispatch(DispatchKey::Meta, TORCH_FN(ictp::exchange_meta)));
}
