// SPDX-License-Identifier: MIT
#ifndef ICTP_CUDA_TABLE_CACHE_H
#define ICTP_CUDA_TABLE_CACHE_H

#include "ops/tables.h"

#include <ATen/ATen.h>
#include <c10/util/intrusive_ptr.h>

#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

// Tables of the kernels in the memory of a GPU, made once per model: making them at each call would
// make the CPU wait for the GPU.

namespace ictp {

/// What a table was made from. Models never change these tensors; who does is noticed where PyTorch
/// counts versions.
using TableKey = std::vector<std::pair<const c10::TensorImpl *, uint32_t>>;

/// Values of type Tables by the tensors that they were made from, for as long as those live.
template <typename Tables>
class TableCache {
 public:
  /// Calls make() where there is nothing yet; `extra` are further numbers that it depends on.
  template <typename Make>
  std::shared_ptr<const Tables> find(const std::vector<at::Tensor> &sources,
                                     const std::vector<int64_t> &extra, Make make)
  {
    TableKey key;
    for (const at::Tensor &source : sources)
      key.emplace_back(source.unsafeGetTensorImpl(), source.is_inference() ? 0 : source._version());
    const std::lock_guard<std::mutex> lock(mutex);
    auto &entry = entries[{key, extra}];
    if (!entry.tables) {
      entry.tables = std::make_shared<const Tables>(make());
      for (const at::Tensor &source : sources) entry.sources.emplace_back(source.getIntrusivePtr());
      const std::shared_ptr<const Tables> tables = entry.tables;
      forget_expired();
      return tables;
    }
    return entry.tables;
  }

 private:
  /// Weak references: they keep no memory of a tensor, but its address from being used again.
  struct Entry {
    std::vector<c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>> sources;
    std::shared_ptr<const Tables> tables;
  };

  void forget_expired()
  {
    std::erase_if(entries, [](const auto &item) {
      for (const auto &source : item.second.sources)
        if (source.expired())
          return true;
      return false;
    });
  }

  std::mutex mutex;
  std::map<std::pair<TableKey, std::vector<int64_t>>, Entry> entries;
};

/// Numbers in the memory of a device, as bytes.
template <typename Element>
at::Tensor upload(const Element *first, int64_t count, const at::Device &device)
{
  const at::Tensor bytes = at::empty({count * static_cast<int64_t>(sizeof(Element))}, at::kByte);
  if (count > 0)
    std::memcpy(bytes.data_ptr(), first, bytes.nbytes());
  return bytes.to(device);
}

template <typename Element>
const Element *pointer(const at::Tensor &uploaded)
{
  return static_cast<const Element *>(uploaded.const_data_ptr());
}

/// A polynomial in the memory of a device.
template <typename T>
class DeviceProgram {
 public:
  DeviceProgram(const ProgramView<T> &host, const at::Device &device)
      : num_targets(host.num_targets)
      , targets(upload(host.targets, host.num_targets, device))
      , offsets(upload(host.offsets, host.num_targets + 1, device))
      , terms(upload(host.terms, host.offsets[host.num_targets], device))
  {
  }

  ProgramView<T> view() const
  {
    return {pointer<int32_t>(targets), pointer<int32_t>(offsets), pointer<Term<T>>(terms),
            num_targets};
  }

 private:
  int64_t num_targets;
  at::Tensor targets, offsets, terms;
};

/// A tensor of the tables on the CPU.
inline at::Tensor on_cpu(const at::Tensor &table)
{
  return table.to(at::kCPU).contiguous();
}

inline Polynomial on_cpu(const Polynomial &polynomial)
{
  return {on_cpu(polynomial.offsets), on_cpu(polynomial.terms), on_cpu(polynomial.values)};
}

}    // namespace ictp

#endif
