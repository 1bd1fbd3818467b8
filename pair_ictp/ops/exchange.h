// SPDX-License-Identifier: MIT
#ifndef ICTP_EXCHANGE_H
#define ICTP_EXCHANGE_H

#include <ATen/core/Tensor.h>

namespace ictp {

/// What `ictp::exchange(features, num_nodes)` does when a model runs on several processes: only
/// rows of local nodes that other processes ask for, and rows of ghosts, come here. Rows are on the
/// CPU, contiguous, two-dimensional; every process makes the same calls.
class ExchangeHandler {
 public:
  virtual ~ExchangeHandler() = default;
  /// int64 (num_asked), the local nodes that other processes ask for, where the features are.
  virtual at::Tensor asked_for(const at::Device &device) = 0;
  /// Rows of these nodes (num_asked, W) -> rows of the ghosts (num_ghosts, W).
  virtual at::Tensor forward(const at::Tensor &asked, int64_t num_ghosts) = 0;
  /// Gradients of the ghosts' rows (num_ghosts, W) -> what other processes hold for the rows that
  /// they asked for (num_asked, W).
  virtual at::Tensor backward(const at::Tensor &grad_ghosts, int64_t num_asked) = 0;
};

/// Installs a handler on this thread for the lifetime of the scope. Autograd runs the backward of
/// an exchange on the thread that asks for gradients, because its rows are on the CPU.
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
