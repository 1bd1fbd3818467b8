// SPDX-License-Identifier: MIT
#include "ops/mixing_kernels.h"

#include "ops/instruction_set.h"
#include "ops/operator.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

// Linear maps of the last axis, y = x w. In float64 on CPUs by a product of its own: PyTorch's ends
// in `dgemm_`, and in a process with LAMMPS that is the plain one which LAMMPS brings, 30 times
// slower.

namespace ictp {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr auto NAME = "ictp::mix_channels";

/// (..., out) of x (..., in) and w (in, out).
std::vector<c10::SymInt> sizes_of(const Tensor &x, const Tensor &w)
{
  TORCH_CHECK(x.dim() > 0 && w.dim() == 2 && x.sym_size(-1) == w.sym_size(0) &&
                  x.scalar_type() == w.scalar_type(),
              NAME, ": expected x (..., in) and w (in, out), got ", x.sizes(), " and ", w.sizes());
  std::vector<c10::SymInt> sizes = x.sym_sizes().vec();
  sizes.back() = w.sym_size(1);
  return sizes;
}

Tensor forward_cpu(const Tensor &x, const Tensor &w)
{
  static const MixingKernel<double> &kernel = ICTP_BEST_OF(mixing_kernels);
  constexpr int64_t WHOLE = 64 / sizeof(double), WORK = 1 << 16;    // multiply-adds of a task
  const auto sizes = sizes_of(x, w);
  const int64_t num_in = w.size(0), num_out = w.size(1), missing = -num_out & (WHOLE - 1);
  const int64_t num_rows = c10::multiply_integers(x.sizes().slice(0, x.dim() - 1));
  const Tensor rows = x.contiguous();
  const Tensor columns = missing ? at::constant_pad_nd(w, {0, missing}) : w.contiguous();
  const Tensor y = at::empty({num_rows, num_out + missing}, x.options());
  const MixingData<double> data = {rows.const_data_ptr<double>(), columns.const_data_ptr<double>(),
                                   y.data_ptr<double>(), num_in, num_out + missing};
  const int64_t grain = WORK / std::max<int64_t>(num_in * num_out, 1) + 1;
  at::parallel_for(0, num_rows, grain, [&](int64_t begin, int64_t end) {
    kernel.product(data, begin, end);
  });
  return (missing ? y.narrow(1, 0, num_out).contiguous() : y).view_symint(sizes);
}

Tensor forward_meta(const Tensor &x, const Tensor &w)
{
  return at::empty_symint(sizes_of(x, w), x.options());
}

const Operator<decltype(forward_cpu)> FORWARD("ictp::mix_channels_forward");

Tensor mix_channels(const Tensor &x, const Tensor &w)
{
  const bool is_ours =
      x.scalar_type() == at::kDouble && is_served("ictp::mix_channels_forward", x.device());
  return is_ours ? FORWARD(x, w) : at::matmul(x, w);
}

struct MixChannels : public torch::autograd::Function<MixChannels> {
  static Tensor forward(AutogradContext *context, const Tensor &x, const Tensor &w)
  {
    context->save_for_backward({x, w});
    return FORWARD.below_autograd(x, w);
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &w = saved[1];
    Tensor grad_x, grad_w;
    if (context->needs_input_grad(0))
      grad_x = mix_channels(grads[0], w.t());
    if (context->needs_input_grad(1))
      grad_w = at::matmul(x.flatten(0, -2).t(), grads[0].flatten(0, -2));
    return {grad_x, grad_w};
  }
};

Tensor forward_autograd(const Tensor &x, const Tensor &w)
{
  return MixChannels::apply(x, w);
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  using c10::DispatchKey, torch::dispatch;
  library.def("mix_channels(Tensor x, Tensor w) -> Tensor");
  library.def("mix_channels_forward(Tensor x, Tensor w) -> Tensor");
  library.impl("mix_channels",
               dispatch(DispatchKey::CompositeImplicitAutograd, TORCH_FN(ictp::mix_channels)));
  library.impl("mix_channels_forward", dispatch(DispatchKey::CPU, TORCH_FN(ictp::forward_cpu)));
  library.impl("mix_channels_forward", dispatch(DispatchKey::Meta, TORCH_FN(ictp::forward_meta)));
  library.impl("mix_channels_forward",
               dispatch(DispatchKey::Autograd, TORCH_FN(ictp::forward_autograd)));
}
