// SPDX-License-Identifier: MIT
#ifndef ICTP_OPERATOR_H
#define ICTP_OPERATOR_H

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <utility>

// Operators are chosen by PyTorch's dispatch keys: a kernel per device (CPU, CUDA), shapes (Meta),
// and derivatives (Autograd), whose functions call operators again, so that tracing sees each one.

namespace ictp {

/// An operator by its name; `Kernel` is the type of one of its kernels.
template <typename Kernel>
class Operator {
 public:
  explicit Operator(const char *name)
      : name(name)
  {
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
