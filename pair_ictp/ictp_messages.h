// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_MESSAGES_H
#define ICTP_MESSAGES_H

#include "ictp_model.h"
#include "ops/exchange.h"

#include <vector>

namespace ictp {

/// One exchange of a model: numbers per node and their type on the way.
struct Message {
  int64_t width;
  at::ScalarType type;    ///< float64 or float32
};

/// Notes which exchanges a model makes; for a graph whose nodes are all local.
class MessageRecorder : public ExchangeHandler {
 public:
  at::Tensor forward(const at::Tensor &local, int64_t num_nodes) override;
  at::Tensor backward(const at::Tensor &grad_all, int64_t num_local) override;

  std::vector<Message> messages;
};

/// The operator's handler on several processes: lends the tensors' memory to the halo. Every
/// process makes every exchange, forward and backward, whatever it owns and whatever befalls it.
class MessageHandler : public ExchangeHandler {
 public:
  /// expected: the model's exchanges, known from its self-check; seconds: where to add time.
  MessageHandler(Halo *halo, int64_t num_nodes, const std::vector<Message> &expected,
                 double &seconds);

  at::Tensor forward(const at::Tensor &local, int64_t num_rows) override;
  at::Tensor backward(const at::Tensor &grad_all, int64_t num_local) override;

  /// A process whose energies do not depend on some exchange (no atoms, no edges) still has to
  /// bring home the gradients that its neighbors send.
  void finish_backward();

  /// After a failure: the exchanges that are left, with zeros. Throws LostProcess if it cannot.
  void finish_after_failure();

 private:
  void send(const at::Tensor &rows);
  void bring_home(const at::Tensor &rows);

  Halo *halo;
  int64_t num_nodes;
  const std::vector<Message> &expected;
  double &seconds;
  size_t num_forward = 0;
  std::vector<Message> pending;    // forward calls whose backward is still to come
  bool in_transfer = false;        // stays true when a transfer throws: nobody knows how far it got
};

}    // namespace ictp

#endif
