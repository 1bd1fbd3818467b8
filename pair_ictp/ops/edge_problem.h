// SPDX-License-Identifier: MIT
#ifndef ICTP_EDGE_PROBLEM_H
#define ICTP_EDGE_PROBLEM_H

#include "ops/edge_kernels.h"
#include "ops/instruction_set.h"
#include "ops/operands.h"
#include "ops/program.h"

#include <vector>

// What the two forms of the edge convolution share: tensors to tables of the kernels, and threads.

namespace ictp {

/// What does not take part in derivatives.
struct EdgeIndices {
  at::Tensor neighbors, offsets;     ///< (E), (N+1)
  at::Tensor paths;                  ///< (P, 6): the fields of EdgePath
  at::Tensor rows, terms, values;    ///< the polynomial: offsets (targets+1), (n, 2), (n)
};

template <typename T>
const EdgeKernels<T> &edge_kernels()
{
  static const EdgeKernelSet &set = ICTP_BEST_OF(edge_kernels);
  return of_type<T>(set);
}

/// (N, d, paths*C) of (N, d, paths*(C+missing)).
inline at::Tensor without_missing(const at::Tensor &result, int64_t num_channels, int64_t missing)
{
  return result.unflatten(2, {-1, num_channels + missing}).narrow(3, 0, num_channels).flatten(2);
}

/// One convolution: tables with their memory, and the kernels over threads.
template <typename T>
class EdgeProblem {
 public:
  EdgeData<T> data;

  EdgeProblem(const EdgeIndices &at_, int64_t num_leaves, int64_t in_size, int64_t num_channels)
  {
    const auto row = at_.paths.accessor<int64_t, 2>();
    for (int64_t p = 0; p < at_.paths.size(0); ++p) {
      paths.push_back({row[p][0], row[p][1], row[p][2], row[p][3], row[p][4], row[p][5]});
      const EdgePath &path = paths.back();
      num_paths_to.resize(path.z + 1);    // ascending
      dims.resize(path.z + 1);
      ++num_paths_to[path.z];
      dims[path.z] = path.d3;
      shape.matrix_size += path.d1 * path.d3;
    }
    const int64_t num_targets = at_.rows.size(0) - 1;
    values = Program<T>(num_leaves, num_targets, at_.rows.const_data_ptr<int64_t>(),
                        at_.terms.const_data_ptr<int64_t>(), at_.values.const_data_ptr<double>());
    shape.num_rows = num_leaves + num_targets;
    adjoint = values.adjoint(num_leaves, shape.num_rows - shape.matrix_size, [&](int64_t leaf) {
      return leaf + 1 < num_leaves;
    });
    shape.paths = paths.data();
    shape.num_paths = static_cast<int64_t>(paths.size());
    shape.num_paths_to = num_paths_to.data();
    shape.values = values.view();
    shape.adjoint = adjoint.view();
    shape.num_leaves = num_leaves;
    shape.num_channels = num_channels;
    shape.in_size = in_size;
    data.neighbors = at_.neighbors.const_data_ptr<int64_t>();
    data.offsets = at_.offsets.const_data_ptr<int64_t>();
    num_centers = at_.offsets.size(0) - 1;
  }

  EdgeProblem(const EdgeProblem &) = delete;
  EdgeProblem &operator=(const EdgeProblem &) = delete;

  /// The results, one tensor (N, d3, P_z*C) per irrep.
  std::vector<at::Tensor> forward(const at::TensorOptions &options)
  {
    std::vector<at::Tensor> results;
    for (size_t z = 0; z < dims.size(); ++z) {
      results.push_back(
          at::empty({num_centers, dims[z], num_paths_to[z] * shape.num_channels}, options));
      out.push_back(results.back().template data_ptr<T>());
    }
    data.out = out.data();
    at::parallel_for(0, num_centers, GRAIN, [&](int64_t begin, int64_t end) {
      edge_kernels<T>().forward(shape, data, begin, end);
    });
    return results;
  }

  /// Fills the gradients that `data` names; those of features, if defined, in addition.
  void backward(const std::vector<at::Tensor> &grads, const at::Tensor &grad_features)
  {
    for (const at::Tensor &grad : grads) grad_out.push_back(grad.const_data_ptr<T>());
    data.grad_out = grad_out.data();
    const ThreadSums<T> sums(grad_features);    // several centers have one neighbor
    at::parallel_for(0, num_centers, GRAIN, [&](int64_t begin, int64_t end) {
      EdgeData<T> part = data;
      part.grad_features = sums.of_this_thread();
      edge_kernels<T>().backward(shape, part, begin, end);
    });
    sums.join();
  }

 private:
  static constexpr int64_t GRAIN = 16;    // centers per task

  EdgeShape<T> shape{};
  Program<T> values, adjoint;
  std::vector<EdgePath> paths;
  std::vector<int64_t> num_paths_to, dims;
  std::vector<T *> out;
  std::vector<const T *> grad_out;
  int64_t num_centers;
};

}    // namespace ictp

#endif
