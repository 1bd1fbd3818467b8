// SPDX-License-Identifier: MIT
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
  const Tensor out = at::empty_like(like);
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

Tensor value(const Tensor &x, const Tensor &s, double gain)
{
  return map(
      [gain](auto x, auto s) {
        return decltype(x)(gain) * x * s;
      },
      x, x, s);
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

struct Backward : public torch::autograd::Function<Backward> {
  static Tensor forward(AutogradContext *context, const Tensor &grad, const Tensor &x,
                        const Tensor &s, double gain)
  {
    context->save_for_backward({grad, x, s});
    context->saved_data["gain"] = gain;
    return first(grad, x, s, gain);
  }

  static variable_list backward(AutogradContext *context, variable_list grads)
  {
    const variable_list saved = context->get_saved_variables();
    const Tensor v = grads[0].contiguous(), &grad = saved[0], &x = saved[1];
    const double gain = context->saved_data["gain"].toDouble();
    if (at::GradMode::is_enabled()) {    // a third derivative is wanted: leave it to PyTorch
      const Tensor s = at::sigmoid(x);
      return {v * gain * s * (1 + x * (1 - s)),
              v * grad * gain * s * (1 - s) * (2 + x * (1 - 2 * s)), Tensor(), Tensor()};
    }
    const Tensor &s = saved[2];
    return {context->needs_input_grad(0) ? first(v, x, s, gain) : Tensor(),
            context->needs_input_grad(1) ? second(v, grad, x, s, gain) : Tensor(), Tensor(),
            Tensor()};
  }
};

struct Forward : public torch::autograd::Function<Forward> {
  static Tensor forward(AutogradContext *context, const Tensor &x, double gain)
  {
    const Tensor s = at::sigmoid(x);
    context->save_for_backward({x, s});
    context->saved_data["gain"] = gain;
    return value(x, s, gain);
  }

  static variable_list backward(AutogradContext *context, variable_list grads)
  {
    const variable_list saved = context->get_saved_variables();
    return {Backward::apply(grads[0].contiguous(), saved[0], saved[1],
                            context->saved_data["gain"].toDouble()),
            Tensor()};
  }
};

Tensor scaled_silu(const Tensor &x, double gain)
{
  TORCH_CHECK(x.is_cpu(), "ictp::scaled_silu: expected a tensor on the CPU");
  return Forward::apply(x.contiguous(), gain);
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  library.def("scaled_silu(Tensor x, float gain) -> Tensor");
  library.impl("scaled_silu", torch::dispatch(c10::DispatchKey::CompositeImplicitAutograd,
                                              TORCH_FN(ictp::scaled_silu)));
}
