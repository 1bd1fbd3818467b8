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

/// One element of the result from the same element of each input, in one pass.
template <typename Body, typename... Inputs>
Tensor map(Body body, const Tensor &like, const Inputs &...inputs)
{
  const Tensor out = at::empty_like(like, at::MemoryFormat::Contiguous);
  AT_DISPATCH_FLOATING_TYPES(like.scalar_type(), "scaled_silu", [&] {
    const auto run = [&](scalar_t *to, const auto *...from) {
      at::parallel_for(0, like.numel(), GRAIN, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) to[i] = body(from[i]...);
      });
    };
    run(out.template data_ptr<scalar_t>(), inputs.template const_data_ptr<scalar_t>()...);
  });
  return out;
}

/// y and s.
std::tuple<Tensor, Tensor> forward_cpu(const Tensor &x, double gain)
{
  const Tensor all = x.contiguous(), s = at::sigmoid(all);
  const Tensor y = map(
      [gain](auto x, auto s) {
        return decltype(x)(gain) * x * s;
      },
      all, all, s);
  return {y, s};
}

/// v y'
Tensor backward_cpu(const Tensor &v, const Tensor &x, const Tensor &s, double gain)
{
  const auto body = [gain](auto v, auto x, auto s) {
    return v * decltype(x)(gain) * s * (1 + x * (1 - s));
  };
  return map(body, x.contiguous(), v.contiguous(), x.contiguous(), s.contiguous());
}

/// v g y''
Tensor second_cpu(const Tensor &v, const Tensor &grad, const Tensor &x, const Tensor &s,
                  double gain)
{
  const auto body = [gain](auto v, auto g, auto x, auto s) {
    return v * g * decltype(x)(gain) * s * (1 - s) * (2 + x * (1 - 2 * s));
  };
  return map(body, x.contiguous(), v.contiguous(), grad.contiguous(), x.contiguous(),
             s.contiguous());
}

Tensor scaled_silu_cpu(const Tensor &x, double gain)
{
  return std::get<0>(forward_cpu(x, gain));
}

std::tuple<Tensor, Tensor> forward_meta(const Tensor &x, double /*gain*/)
{
  const auto empty = [&] {
    return at::empty_like(x, at::MemoryFormat::Contiguous);
  };
  return {empty(), empty()};
}

Tensor scaled_silu_meta(const Tensor &x, double gain)
{
  return std::get<0>(forward_meta(x, gain));
}

Tensor backward_meta(const Tensor & /*v*/, const Tensor &x, const Tensor & /*s*/, double gain)
{
  return scaled_silu_meta(x, gain);
}

Tensor second_meta(const Tensor & /*v*/, const Tensor & /*grad*/, const Tensor &x,
                   const Tensor & /*s*/, double gain)
{
  return scaled_silu_meta(x, gain);
}

Tensor backward_operator(const Tensor &v, const Tensor &x, const Tensor &s, double gain)
{
  static const auto found = find_operator<decltype(backward_cpu)>("ictp::scaled_silu_backward");
  return found.call(v, x, s, gain);
}

struct Backward : public torch::autograd::Function<Backward> {
  static Tensor forward(AutogradContext *context, const Tensor &grad, const Tensor &x,
                        const Tensor &s, double gain)
  {
    context->save_for_backward({grad, x, s});
    context->saved_data["gain"] = gain;
    const at::AutoDispatchBelowADInplaceOrView below;
    return backward_operator(grad, x, s, gain);
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    static const auto second = find_operator<decltype(second_cpu)>("ictp::scaled_silu_second");
    const variable_list saved = context->get_saved_variables();
    const Tensor &v = grads[0], &grad = saved[0], &x = saved[1], &s = saved[2];
    const double gain = context->saved_data["gain"].toDouble();
    if (at::GradMode::is_enabled()) {    // a third derivative is wanted: leave it to PyTorch
      const Tensor fresh = at::sigmoid(x);
      return {v * gain * fresh * (1 + x * (1 - fresh)),
              v * grad * gain * fresh * (1 - fresh) * (2 + x * (1 - 2 * fresh)), Tensor(),
              Tensor()};
    }
    return {context->needs_input_grad(0) ? backward_operator(v, x, s, gain) : Tensor(),
            context->needs_input_grad(1) ? second.call(v, grad, x, s, gain) : Tensor(), Tensor(),
            Tensor()};
  }
};

struct Forward : public torch::autograd::Function<Forward> {
  static Tensor forward(AutogradContext *context, const Tensor &x, double gain)
  {
    static const auto found = find_operator<decltype(forward_cpu)>("ictp::scaled_silu_forward");
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [y, s] = found.call(x, gain);
    context->save_for_backward({x, s});
    context->saved_data["gain"] = gain;
    return y;
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    const variable_list saved = context->get_saved_variables();
    return {
        backward_operator(grads[0], saved[0], saved[1], context->saved_data["gain"].toDouble()),
        Tensor()};
  }
};

Tensor scaled_silu_autograd(const Tensor &x, double gain)
{
  return Forward::apply(x, gain);
}

Tensor backward_autograd(const Tensor &grad, const Tensor &x, const Tensor &s, double gain)
{
  return Backward::apply(grad, x, s, gain);
}

Tensor scaled_silu_composite(const Tensor &x, double gain)
{
  return gain * at::silu(x);
}

}    // namespace
}    // namespace ictp

// scaled_silu_forward keeps s for the derivatives; training sees no other difference
TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  library.def("scaled_silu(Tensor x, float gain) -> Tensor");
  library.def("scaled_silu_forward(Tensor x, float gain) -> (Tensor, Tensor)");
  library.def("scaled_silu_backward(Tensor grad, Tensor x, Tensor s, float gain) -> Tensor");
  library.def("scaled_silu_second(Tensor v, Tensor grad, Tensor x, Tensor s, float gain) -> Tensor");
}

TORCH_LIBRARY_IMPL(ictp, CPU, library)
{
  library.impl("scaled_silu", TORCH_FN(ictp::scaled_silu_cpu));
  library.impl("scaled_silu_forward", TORCH_FN(ictp::forward_cpu));
  library.impl("scaled_silu_backward", TORCH_FN(ictp::backward_cpu));
  library.impl("scaled_silu_second", TORCH_FN(ictp::second_cpu));
}

TORCH_LIBRARY_IMPL(ictp, Meta, library)
{
  library.impl("scaled_silu", TORCH_FN(ictp::scaled_silu_meta));
  library.impl("scaled_silu_forward", TORCH_FN(ictp::forward_meta));
  library.impl("scaled_silu_backward", TORCH_FN(ictp::backward_meta));
  library.impl("scaled_silu_second", TORCH_FN(ictp::second_meta));
}

TORCH_LIBRARY_IMPL(ictp, Autograd, library)
{
  library.impl("scaled_silu", TORCH_FN(ictp::scaled_silu_autograd));
  library.impl("scaled_silu_backward", TORCH_FN(ictp::backward_autograd));
}

// PyTorch's own kernels are as good there
TORCH_LIBRARY_IMPL(ictp, CUDA, library)
{
  library.impl("scaled_silu", TORCH_FN(ictp::scaled_silu_composite));
}

TORCH_LIBRARY_IMPL(ictp, AutogradCUDA, library)
{
  library.impl("scaled_silu", TORCH_FN(ictp::scaled_silu_composite));
}
