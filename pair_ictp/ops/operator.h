// SPDX-License-Identifier: MIT
#ifndef ICTP_OPERATOR_H
#define ICTP_OPERATOR_H

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/TensorOptions.h>

#include <optional>
#include <utility>

// Operators are chosen by PyTorch's dispatch keys: a kernel per device (CPU, CUDA), shapes (Meta),
// and derivatives (Autograd), whose functions call operators again, so that tracing sees each one.

namespace ictp {

/// Whether an operator computes on a device: kernels for GPUs may not have been built.
inline bool is_served(const char *name, const at::Device &device)
{
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").hasKernelForDispatchKey(
      c10::computeDispatchKey(std::nullopt, std::nullopt, device));
}

/// An operator by its name; `Kernel` is the type of one of its kernels.
template <typename Kernel>
class Operator {
 public:
  explicit Operator(const char *name)
      : name(name)
  {
  }

  /// A device, or the CPU if the operator does not compute there.
  at::Device nearest(const at::Device &device) const
  {
    return is_served(name, device) ? device : at::Device(at::kCPU);
  }

  /// With derivatives, if autograd wants any.
  template <typename... Operands>
  decltype(auto) operator()(Operands &&...operands) const
  {
    if (at::GradMode::is_enabled())
      return handle().call(std::forward<Operands>(operands)...);
    return below_autograd(std::forward<Operands>(operands)...);
  }

  /// What the function of a derivative calls: the kernel of the device.
  template <typename... Operands>
  decltype(auto) below_autograd(Operands &&...operands) const
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    return handle().call(std::forward<Operands>(operands)...);
  }

 private:
  auto handle() const
  {
    return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").template typed<Kernel>();
  }

  const char *name;
};

}    // namespace ictp

#endif
