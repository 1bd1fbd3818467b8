// SPDX-License-Identifier: MIT
#ifndef ICTP_OPERANDS_H
#define ICTP_OPERANDS_H

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

// From tensors to the pointers of kernels: their type, whole vectors of channels, sums of threads.

namespace ictp {

/// Calls body with a number of the tensor's type, float or double.
template <typename Body>
void with_type_of(const at::Tensor &tensor, Body body)
{
  tensor.scalar_type() == at::kFloat ? body(0.0F) : body(0.0);
}

/// Channels that complete the last vector of 64 bytes.
inline int64_t missing_channels(const at::Tensor &tensor, int64_t num_channels)
{
  const int64_t block = 64 / tensor.element_size();
  return (block - num_channels % block) % block;
}

/// What several threads add to one tensor: each in memory of its own, joined in a fixed order; a
/// single thread in the tensor itself. Undefined: nothing is wanted.
template <typename T>
class ThreadSums {
 public:
  explicit ThreadSums(const at::Tensor &target)
      : target(target)
  {
    if (!target.defined())
      return;
    const int64_t num_threads = at::get_num_threads();
    sums = num_threads == 1 ? target.zero_().view({1, target.numel()})
                            : at::zeros({num_threads, target.numel()}, target.options());
  }

  T *of_this_thread() const
  {
    return sums.defined() ? sums.data_ptr<T>() + at::get_thread_num() * sums.size(1) : nullptr;
  }

  void join() const
  {
    if (sums.defined() && sums.size(0) > 1)
      target.copy_(sums.sum(0).view(target.sizes()));
  }

 private:
  at::Tensor target, sums;
};

}    // namespace ictp

#endif
