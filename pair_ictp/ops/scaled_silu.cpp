// SPDX-License-Identifier: MIT
#include "ops/operator.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

// y = gain x s(x), s the logistic function, with the first two derivatives each in one pass over
// memory: y' = gain s (1 + x (1 - s)), y'' = gain s (1 - s) (2 + x (1 - 2 s)).
// Training differentiates forces, and what PyTorch composes for silu then is ten passes.

namespace ictp {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t GRAIN = 1 << 14;    // elements per task

/// One element of the result from the same element of each input, in one pass; of meta tensors the
/// shape.
template <typename Body, typename... Inputs>
Tensor map(Body body, const Tensor &like, const Inputs &...inputs)
{
  const Tensor out = at::empty_like(like, at::MemoryFormat::Contiguous);
  if (out.is_meta())
    return out;
  AT_DISPATCH_FLOATING_TYPES(like.scalar_type(), "scaled_silu", [&] {
    const auto run = [&](scalar_t *to, const auto *...from) {
      at::parallel_for(0, like.numel(), GRAIN, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) to[i] = body(from[i]...);
      });
    };
    for (const Tensor &input : {inputs...})
      TORCH_CHECK(input.sizes() == like.sizes() && input.scalar_type() == like.scalar_type(),
                  "ictp::scaled_silu: expected operands as x, ", like.sizes(), ", got ",
                  input.sizes());
    run(out.template data_ptr<scalar_t>(),
        inputs.contiguous().template const_data_ptr<scalar_t>()...);
  });
  return out;
}

/// y and s.
std::tuple<Tensor, Tensor> forward(const Tensor &x, double gain)
{
  const Tensor s = at::sigmoid(x);
  const auto body = [gain](auto x, auto s) {
    return decltype(x)(gain) * x * s;
  };
  return {map(body, x, x, s), s};
}

/// v y'
Tensor first(const Tensor &v, const Tensor &x, const Tensor &s, double gain)
{
  const auto body = [gain](auto v, auto x, auto s) {
    return v * decltype(x)(gain) * s * (1 + x * (1 - s));
  };
  return map(body, x, v, x, s);
}

/// v g y''
Tensor second(const Tensor &v, const Tensor &grad, const Tensor &x, const Tensor &s, double gain)
{
  const auto body = [gain](auto v, auto g, auto x, auto s) {
    return v * g * decltype(x)(gain) * s * (1 - s) * (2 + x * (1 - 2 * s));
  };
  return map(body, x, v, grad, x, s);
}

const Operator<decltype(forward)> FORWARD("ictp::scaled_silu_forward");
const Operator<decltype(first)> FIRST("ictp::scaled_silu_first");
const Operator<decltype(second)> SECOND("ictp::scaled_silu_second");

struct First : public torch::autograd::Function<First> {
  static Tensor forward(AutogradContext *context, const Tensor &grad, const Tensor &x,
                        const Tensor &s, double gain)
  {
    context->save_for_backward({grad, x, s});
    context->saved_data["gain"] = gain;
    return FIRST.below_autograd(grad, x, s, gain);
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    const variable_list saved = context->get_saved_variables();
    const Tensor &v = grads[0], &grad = saved[0], &x = saved[1];
    const double gain = context->saved_data["gain"].toDouble();
    if (at::GradMode::is_enabled()) {    // a third derivative is wanted: leave it to PyTorch
      const Tensor s = at::sigmoid(x);
      return {v * gain * s * (1 + x * (1 - s)),
              v * grad * gain * s * (1 - s) * (2 + x * (1 - 2 * s)), Tensor(), Tensor()};
    }
    const Tensor &s = saved[2];
    return {context->needs_input_grad(0) ? FIRST(v, x, s, gain) : Tensor(),
            context->needs_input_grad(1) ? SECOND(v, grad, x, s, gain) : Tensor(), Tensor(),
            Tensor()};
  }
};

struct Forward : public torch::autograd::Function<Forward> {
  static variable_list forward(AutogradContext *context, const Tensor &x, double gain)
  {
    const auto [y, s] = FORWARD.below_autograd(x, gain);
    context->save_for_backward({x, s});
    context->mark_non_differentiable({s});
    context->saved_data["gain"] = gain;
    return {y, s};
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    const variable_list saved = context->get_saved_variables();
    return {FIRST(grads[0], saved[0], saved[1], context->saved_data["gain"].toDouble()), Tensor()};
  }
};

std::tuple<Tensor, Tensor> forward_autograd(const Tensor &x, double gain)
{
  const variable_list found = Forward::apply(x, gain);
  return {found[0], found[1]};
}

Tensor first_autograd(const Tensor &v, const Tensor &x, const Tensor &s, double gain)
{
  return First::apply(v, x, s, gain);
}

Tensor scaled_silu(const Tensor &x, double gain)
{
  return std::get<0>(FORWARD(x, gain));
}

Tensor scaled_silu_cuda(const Tensor &x, double gain)    // PyTorch's kernels are as good there
{
  return gain * at::silu(x);
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  using c10::DispatchKey, torch::dispatch;
  library.def("scaled_silu(Tensor x, float gain) -> Tensor");
  library.def("scaled_silu_forward(Tensor x, float gain) -> (Tensor, Tensor)");
  library.def("scaled_silu_first(Tensor v, Tensor x, Tensor s, float gain) -> Tensor");
  library.def(
      "scaled_silu_second(Tensor v, Tensor grad, Tensor x, Tensor s, float gain) -> Tensor");
  for (const auto key : {DispatchKey::CPU, DispatchKey::Meta}) {
    library.impl("scaled_silu_forward", dispatch(key, TORCH_FN(ictp::forward)));
    library.impl("scaled_silu_first", dispatch(key, TORCH_FN(ictp::first)));
    library.impl("scaled_silu_second", dispatch(key, TORCH_FN(ictp::second)));
  }
  library.impl("scaled_silu_forward",
               dispatch(DispatchKey::Autograd, TORCH_FN(ictp::forward_autograd)));
  library.impl("scaled_silu_first",
               dispatch(DispatchKey::Autograd, TORCH_FN(ictp::first_autograd)));
  library.impl("scaled_silu",
               dispatch(DispatchKey::CompositeImplicitAutograd, TORCH_FN(ictp::scaled_silu)));
  for (const auto key : {DispatchKey::CUDA, DispatchKey::AutogradCUDA})
    library.impl("scaled_silu", dispatch(key, TORCH_FN(ictp::scaled_silu_cuda)));
}
