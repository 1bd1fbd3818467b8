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
  at::Tensor asked_for(const at::Device &device) override;
  at::Tensor forward(const at::Tensor &asked, int64_t num_ghosts) override;
  at::Tensor backward(const at::Tensor &grad_ghosts, int64_t num_asked) override;

  std::vector<Message> messages;
};

/// The operator's handler on several processes: puts rows in the order of the halo. Every
/// process makes every exchange, forward and backward, whatever it owns and whatever befalls it.
class MessageHandler : public ExchangeHandler {
 public:
  /// expected: the model's exchanges, known from its self-check; seconds: where to add time.
  /// halo: null on one process, which asks for nothing.
  MessageHandler(Halo *halo, const std::vector<Message> &expected, double &seconds);

  at::Tensor asked_for(const at::Device &device) override;
  at::Tensor forward(const at::Tensor &asked, int64_t num_ghosts) override;
  at::Tensor backward(const at::Tensor &grad_ghosts, int64_t num_asked) override;

  /// A process whose energies do not depend on some exchange (no atoms, no edges) still has to
  /// bring home the gradients that its neighbors send.
  void finish_backward();

  /// After a failure: the exchanges that are left, with zeros. Throws LostProcess if it cannot.
  void finish_after_failure();

 private:
  void send(const at::Tensor &rows);
  void bring_home(const at::Tensor &rows);

  int64_t num_rows() const;

  Halo *halo;
  at::Tensor indices;    // of the rows that the halo asks for, where the features are
  const std::vector<Message> &expected;
  double &seconds;
  size_t num_forward = 0;
  std::vector<Message> pending;    // forward calls whose backward is still to come
  bool in_transfer = false;        // stays true when a transfer throws: nobody knows how far it got
};

}    // namespace ictp

#endif
