// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_messages.h"

#include "ictp_tensors.h"
#include "ictp_timer.h"

#include <ATen/ATen.h>

namespace ictp {

static at::ScalarType communicated(at::ScalarType type)
{
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

static std::byte *bytes(const at::Tensor &rows)
{
  return static_cast<std::byte *>(rows.data_ptr());
}

static size_t row_bytes(const at::Tensor &rows)
{
  return rows.size(1) * rows.element_size();
}

at::Tensor MessageRecorder::asked_for(const at::Device &device)
{
  return at::empty({0}, at::dtype(at::kLong).device(device));
}

at::Tensor MessageRecorder::forward(const at::Tensor &asked, int64_t num_ghosts)
{
  messages.push_back({asked.size(1), communicated(asked.scalar_type())});
  return at::zeros({num_ghosts, asked.size(1)}, asked.options());
}

at::Tensor MessageRecorder::backward(const at::Tensor &grad_ghosts, int64_t num_asked)
{
  return at::zeros({num_asked, grad_ghosts.size(1)}, grad_ghosts.options());
}

MessageHandler::MessageHandler(Halo *halo, const std::vector<Message> &expected, double &seconds)
    : halo(halo)
    , expected(expected)
    , seconds(seconds)
{
}

int64_t MessageHandler::num_rows() const
{
  return static_cast<int64_t>(halo->asked_for().size()) + halo->num_ghosts();
}

at::Tensor MessageHandler::asked_for(const at::Device &device)
{
  if (!indices.defined() || indices.device() != device)
    indices = to_device(halo->asked_for(), device);
  return indices;
}

at::Tensor MessageHandler::forward(const at::Tensor &asked, int64_t num_ghosts)
{
  TORCH_CHECK(num_ghosts == halo->num_ghosts(),
              "ictp::exchange: expected rows of all local nodes "
              "and num_nodes as handed to the model: ",
              halo->num_ghosts(), " more, got ", num_ghosts);
  const at::Tensor rows =
      at::empty({num_rows(), asked.size(1)},
                at::dtype(communicated(asked.scalar_type())).pinned_memory(indices.is_cuda()));
  rows.narrow(0, 0, asked.size(0)).copy_(asked);
  send(rows);
  return rows.narrow(0, asked.size(0), num_ghosts).to(asked.scalar_type());
}

at::Tensor MessageHandler::backward(const at::Tensor &grad_ghosts, int64_t num_asked)
{
  const at::Tensor rows = at::zeros({num_rows(), grad_ghosts.size(1)},
                                    at::dtype(communicated(grad_ghosts.scalar_type())));
  rows.narrow(0, num_asked, grad_ghosts.size(0)).copy_(grad_ghosts);
  bring_home(rows);
  return rows.narrow(0, 0, num_asked).to(grad_ghosts.scalar_type());
}

void MessageHandler::finish_backward()
{
  while (!pending.empty())
    bring_home(at::zeros({num_rows(), pending.back().width}, at::dtype(pending.back().type)));
}

void MessageHandler::finish_after_failure()
{
  try {
    TORCH_CHECK(!in_transfer, "failed while features were on the way");
    while (num_forward < expected.size()) {
      const Message &next = expected[num_forward];
      send(at::zeros({num_rows(), next.width}, at::dtype(next.type)));
    }
    finish_backward();
  } catch (const std::exception &error) {
    throw LostProcess(error.what());
  }
}

void MessageHandler::send(const at::Tensor &rows)
{
  const ScopedTimer timer(seconds);
  in_transfer = true;
  halo->forward(bytes(rows), row_bytes(rows));
  in_transfer = false;
  ++num_forward;
  pending.push_back({rows.size(1), rows.scalar_type()});
}

void MessageHandler::bring_home(const at::Tensor &rows)
{
  const ScopedTimer timer(seconds);
  const bool is_double = rows.scalar_type() == at::kDouble;
  in_transfer = true;
  halo->reverse(bytes(rows), row_bytes(rows),
                is_double ? Halo::Scalar::FLOAT64 : Halo::Scalar::FLOAT32);
  in_transfer = false;
  pending.pop_back();
}

}    // namespace ictp
