// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_messages.h"

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

at::Tensor MessageRecorder::forward(const at::Tensor &local, int64_t /*num_nodes*/)
{
  messages.push_back({local.size(1), communicated(local.scalar_type())});
  return local.clone();
}

at::Tensor MessageRecorder::backward(const at::Tensor &grad_all, int64_t /*num_local*/)
{
  return grad_all.clone();
}

MessageHandler::MessageHandler(Halo *halo, int64_t num_nodes, const std::vector<Message> &expected,
                               double &seconds)
    : halo(halo)
    , num_nodes(num_nodes)
    , expected(expected)
    , seconds(seconds)
{
}

at::Tensor MessageHandler::forward(const at::Tensor &local, int64_t num_rows)
{
  TORCH_CHECK(num_rows == num_nodes, "ictp::exchange: expected num_nodes = ", num_nodes,
              " as handed to the model, got ", num_rows);
  const at::Tensor rows =
      at::empty({num_nodes, local.size(1)}, at::dtype(communicated(local.scalar_type())));
  rows.narrow(0, 0, local.size(0)).copy_(local);
  send(rows);
  return rows.to(local.scalar_type());
}

at::Tensor MessageHandler::backward(const at::Tensor &grad_all, int64_t num_local)
{
  const at::Tensor rows =
      at::empty(grad_all.sizes(), at::dtype(communicated(grad_all.scalar_type())));
  rows.copy_(grad_all);
  bring_home(rows);
  return rows.narrow(0, 0, num_local).to(grad_all.scalar_type());
}

void MessageHandler::finish_backward()
{
  while (!pending.empty())
    bring_home(at::zeros({num_nodes, pending.back().width}, at::dtype(pending.back().type)));
}

void MessageHandler::finish_after_failure()
{
  try {
    TORCH_CHECK(!in_transfer, "failed while features were on the way");
    while (num_forward < expected.size()) {
      const Message &next = expected[num_forward];
      send(at::zeros({num_nodes, next.width}, at::dtype(next.type)));
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
