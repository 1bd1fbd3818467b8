// SPDX-License-Identifier: MIT
#ifndef ICTP_OPERATOR_H
#define ICTP_OPERATOR_H

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>

// Operators are chosen by PyTorch's dispatch keys: a kernel per device (CPU, CUDA), shapes (Meta),
// and derivatives (Autograd), whose functions call operators again, so that tracing sees each one.

namespace ictp {

/// An operator by its name; `Kernel` is the type of one of its kernels.
template <typename Kernel>
c10::TypedOperatorHandle<Kernel> find_operator(const char *name)
{
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Kernel>();
}

}    // namespace ictp

#endif
