// SPDX-License-Identifier: MIT
#ifndef ICTP_PRODUCT_PROBLEM_H
#define ICTP_PRODUCT_PROBLEM_H

#include "ops/instruction_set.h"
#include "ops/known_match.h"
#include "ops/operands.h"
#include "ops/product_kernels.h"
#include "ops/product_operands.h"

#include <numeric>
#include <vector>

// What every pass over the product basis on the CPU shares: tensors to rows of the kernels, and
// threads.

namespace ictp {

template <typename T>
const ProductKernels<T> &product_kernels()
{
  static const ProductKernelSet &set = ICTP_BEST_OF(product_kernels);
  return of_type<T>(set);
}

/// The rows of tensors (N, d, C), one irrep after the other; undefined tensors have none.
template <typename T>
std::vector<NodeRow<T>> node_rows(const std::vector<at::Tensor> &tensors,
                                  const std::vector<int64_t> &dims)
{
  std::vector<NodeRow<T>> rows;
  for (size_t k = 0; k < dims.size(); ++k)
    for (int64_t m = 0; m < dims[k]; ++m) {
      if (!tensors[k].defined()) {
        rows.push_back({});
        continue;
      }
      const int64_t num_channels = tensors[k].size(2);
      rows.push_back({const_cast<T *>(tensors[k].template const_data_ptr<T>()) + m * num_channels,
                      dims[k] * num_channels});
    }
  return rows;
}

/// The polynomial with the memory of its tables, for one type of numbers.
template <typename T>
struct ProductProblem {
  Program<T> values, adjoint;
  ProductShape<T> shape{};
  ProductData<T> data;
  std::vector<std::vector<NodeRow<T>>> memory;
  static constexpr int64_t GRAIN = 16;    // nodes per task

  /// With `may_be_known` the kernels are those of shapes that are known, where this is one.
  ProductProblem(const std::vector<at::Tensor> &a, const at::Tensor &weights,
                 const NodeIndices &nodes, bool weights_wanted, bool may_be_known)
  {
    const std::vector<int64_t> dims_a = dims_of(a);
    shape.num_a = std::accumulate(dims_a.begin(), dims_a.end(), int64_t{0});
    shape.num_weights = weights.size(1);
    shape.num_channels = weights.size(2);
    shape.num_results = std::accumulate(nodes.dims.begin(), nodes.dims.end(), int64_t{0});
    shape.known = may_be_known
                      ? find_product(dims_a, shape.num_weights, nodes.dims, nodes.polynomial)
                      : NOT_KNOWN;
    if (shape.known == NOT_KNOWN)
      read(nodes.polynomial, weights_wanted);
    data.num_nodes = a[0].size(0);
    data.species = nodes.species.const_data_ptr<int64_t>();
    data.a = rows(a, dims_a);
    data.weights = weights.const_data_ptr<T>();
  }

  const NodeRow<T> *rows(const std::vector<at::Tensor> &tensors, const std::vector<int64_t> &dims)
  {
    memory.push_back(node_rows<T>(tensors, dims));
    return memory.back().data();
  }

  void read(const Polynomial &polynomial, bool weights_wanted)
  {
    const int64_t num_leaves = shape.num_a + shape.num_weights;
    values = read_program<T>(num_leaves, shape.num_results, polynomial);
    shape.num_rows = num_leaves + polynomial.offsets.size(0) - 1;
    adjoint = values.adjoint(num_leaves, shape.num_rows - shape.num_results, [&](int64_t leaf) {
      return leaf < shape.num_a || weights_wanted;
    });
    shape.values = values.view();
    shape.adjoint = adjoint.view();
  }

  bool is_known() const { return shape.known != NOT_KNOWN; }

  /// Threads share the nodes.
  void run(typename ProductKernels<T>::Kernel kernel, const at::Tensor &grad_weights = at::Tensor())
  {
    const ThreadSums<T> sums(grad_weights);
    at::parallel_for(0, data.num_nodes, GRAIN, [&](int64_t begin, int64_t end) {
      ProductData<T> part = data;
      part.grad_weights = sums.of_this_thread();
      kernel(shape, part, begin, end);
    });
    sums.join();
  }
};

}    // namespace ictp

#endif
