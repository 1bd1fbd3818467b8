// SPDX-License-Identifier: MIT
#ifndef ICTP_EXCHANGE_H
#define ICTP_EXCHANGE_H

#include <ATen/core/Tensor.h>

namespace ictp {

/// What `ictp::exchange(features, num_nodes)` does when a model runs on several processes.
/// Tensors are contiguous, on the CPU, two-dimensional; every process makes the same calls.
class ExchangeHandler {
 public:
  virtual ~ExchangeHandler() = default;
  /// Rows of the local nodes (num_local, W) -> rows of all nodes (num_nodes, W).
  virtual at::Tensor forward(const at::Tensor &local, int64_t num_nodes) = 0;
  /// Gradients of all nodes (num_nodes, W) -> of the local ones (num_local, W), with what other
  /// processes hold for them added.
  virtual at::Tensor backward(const at::Tensor &grad_all, int64_t num_local) = 0;
};

/// Installs a handler on this thread for the lifetime of the scope. Autograd runs the operator's
/// backward on the thread that asks for gradients, because the operator's tensors are on the CPU.
class ExchangeScope {
 public:
  explicit ExchangeScope(ExchangeHandler *handler);
  ~ExchangeScope();
  ExchangeScope(const ExchangeScope &) = delete;
  ExchangeScope &operator=(const ExchangeScope &) = delete;

 private:
  ExchangeHandler *previous;
};

}    // namespace ictp

#endif
