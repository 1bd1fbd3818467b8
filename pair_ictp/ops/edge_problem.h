// SPDX-License-Identifier: MIT
#ifndef ICTP_EDGE_PROBLEM_H
#define ICTP_EDGE_PROBLEM_H

#include "ops/edge_kernels.h"
#include "ops/instruction_set.h"
#include "ops/mixing_kernels.h"
#include "ops/operands.h"
#include "ops/tables.h"

#include <algorithm>
#include <vector>

// What the two forms of the edge convolution share: tensors to tables of the kernels, and threads.

namespace ictp {

/// Refuses, in the name of an operator, neighbors that are no rows of the features, and offsets
/// that are not those of the edges.
inline void check_indices(const char *name, const EdgeIndices &edges, int64_t num_rows)
{
  const int64_t num_edges = edges.neighbors.size(0);
  TORCH_CHECK(are_below(edges.neighbors, num_rows), name, ": expected neighbors (int64) below the ",
              num_rows, " rows of the features");
  TORCH_CHECK(are_offsets(edges.offsets, num_edges), name,
              ": expected offsets (centers+1) that rise from 0 and end with ", num_edges);
}

template <typename Edges>
const EdgeKernels<Edges> &edge_kernels()
{
  static const EdgeKernels<Edges> &kernels = ICTP_BEST_OF(edge_kernels);
  return kernels;
}

/// (..., paths*(C+missing)) of (..., paths*C), in one piece.
inline at::Tensor with_missing(const at::Tensor &tensor, int64_t num_channels, int64_t missing)
{
  if (missing == 0)
    return tensor.contiguous();
  return at::constant_pad_nd(tensor.unflatten(-1, {-1, num_channels}), {0, missing}).flatten(-2);
}

/// (..., paths*C) of (..., paths*(C+missing)), in one piece.
inline at::Tensor without_missing(const at::Tensor &tensor, int64_t num_channels, int64_t missing)
{
  if (missing == 0 || !tensor.defined())
    return tensor;
  return tensor.unflatten(-1, {-1, num_channels + missing})
      .narrow(-1, 0, num_channels)
      .flatten(-2)
      .contiguous();
}

/// The shapes of results: (N, dims[z], num_paths[z]*C) per irrep.
inline std::vector<at::Tensor> convolution_meta(at::TensorList x, at::TensorList tables,
                                                at::IntArrayRef dims, at::IntArrayRef num_paths)
{
  TORCH_CHECK(dims.size() == num_paths.size() && tables.size() >= NUM_TABLES && x.size() == 3 &&
                  x[0].dim() == 3,
              "expected components and number of paths of each irrep of the result");
  check_device("ictp", {x[0], x[1], x[2], tables[0], tables[1]});
  std::vector<at::Tensor> results;
  for (size_t z = 0; z < dims.size(); ++z)
    results.push_back(at::empty_symint(
        {tables[1].sym_size(0) - 1, dims[z], num_paths[z] * x[0].sym_size(2)}, x[0].options()));
  return results;
}

/// One convolution: tables with their memory, and the kernels over threads.
template <typename Edges>
class EdgeProblem {
  using T = typename Edges::Scalar;

 public:
  Edges data;

  EdgeProblem(const EdgeIndices &edges, int64_t num_leaves, int64_t in_size, int64_t num_channels)
      : table(edges.paths, in_size)
  {
    shape.matrix_size = table.matrix_size;
    values = read_program<T>(num_leaves, shape.matrix_size, edges.polynomial);
    shape.num_rows = num_leaves + edges.polynomial.offsets.size(0) - 1;
    adjoint = values.adjoint(num_leaves, shape.num_rows - shape.matrix_size, [&](int64_t leaf) {
      return leaf + 1 < num_leaves;
    });
    shape.paths = table.paths.data();
    shape.num_paths = static_cast<int64_t>(table.paths.size());
    shape.num_paths_to = table.num_paths_to.data();
    shape.values = values.view();
    shape.adjoint = adjoint.view();
    shape.num_leaves = num_leaves;
    shape.num_channels = num_channels;
    shape.in_size = in_size;
    data.neighbors = edges.neighbors.const_data_ptr<int64_t>();
    data.offsets = edges.offsets.const_data_ptr<int64_t>();
    num_centers = edges.offsets.size(0) - 1;
  }

  EdgeProblem(const EdgeProblem &) = delete;
  EdgeProblem &operator=(const EdgeProblem &) = delete;

  /// The results, one tensor (N, d3, P_z*C) per irrep.
  std::vector<at::Tensor> forward(const at::TensorOptions &options)
  {
    std::vector<at::Tensor> results;
    for (size_t z = 0; z < table.dims.size(); ++z) {
      results.push_back(at::empty({num_centers, table.dims[z], width(z)}, options));
      out.push_back(results.back().template data_ptr<T>());
    }
    data.out = out.data();
    at::parallel_for(0, num_centers, GRAIN, [&](int64_t begin, int64_t end) {
      edge_kernels<Edges>().forward(shape, data, begin, end);
    });
    return results;
  }

  /// The results times a matrix (P_z*C, whole vectors) per irrep, a few centers at a time: what is
  /// between, larger than all else of a step, is never there of all centers.
  std::vector<at::Tensor> forward_mixed(const std::vector<at::Tensor> &matrices)
  {
    std::vector<at::Tensor> results;
    check_matrices(matrices, 0);
    for (size_t z = 0; z < table.dims.size(); ++z)
      results.push_back(
          at::empty({num_centers, table.dims[z], matrices[z].size(1)}, matrices[z].options()));
    each_block([&](Edges &part, const Rows &rows, int64_t first, int64_t number) {
      part.out = rows.pointers.data();
      edge_kernels<Edges>().forward(shape, part, 0, number);
      for (size_t z = 0; z < results.size(); ++z)
        mix(rows.pointers[z], matrices[z], row_of(results[z], first), number * table.dims[z]);
    });
    return results;
  }

  /// Fills the gradients that `data` names; those of features, if defined, in addition. Grads: as
  /// the results, in one piece.
  void backward(const std::vector<at::Tensor> &grads, const at::Tensor &grad_features)
  {
    TORCH_CHECK(grads.size() == table.dims.size(), "expected gradients of ", table.dims.size(),
                " irreps, got ", grads.size());
    for (size_t z = 0; z < grads.size(); ++z) {
      TORCH_CHECK(grads[z].sizes() == at::IntArrayRef({num_centers, table.dims[z], width(z)}),
                  "expected a gradient (", num_centers, ", ", table.dims[z], ", ", width(z),
                  "), got ", grads[z].sizes());
      grad_out.push_back(grads[z].const_data_ptr<T>());
    }
    data.grad_out = grad_out.data();
    const ThreadSums<T> sums(grad_features);    // several centers have one neighbor
    at::parallel_for(0, num_centers, GRAIN, [&](int64_t begin, int64_t end) {
      Edges part = data;
      part.grad_features = sums.of_this_thread();
      edge_kernels<Edges>().backward(shape, part, begin, end);
    });
    sums.join();
  }

  /// The same for `forward_mixed`; transposed: of each of its matrices.
  void backward_mixed(const std::vector<at::Tensor> &grads,
                      const std::vector<at::Tensor> &transposed, const at::Tensor &grad_features)
  {
    check_matrices(transposed, 1);
    for (size_t z = 0; z < table.dims.size(); ++z)
      TORCH_CHECK(grads[z].sizes() ==
                      at::IntArrayRef({num_centers, table.dims[z], transposed[z].size(0)}),
                  "expected a gradient (", num_centers, ", ", table.dims[z], ", ",
                  transposed[z].size(0), "), got ", grads[z].sizes());
    const ThreadSums<T> sums(grad_features);
    each_block([&](Edges &part, const Rows &rows, int64_t first, int64_t number) {
      for (size_t z = 0; z < grads.size(); ++z)
        mix(row_of(grads[z], first), transposed[z], rows.pointers[z], number * table.dims[z]);
      part.grad_out = rows.pointers.data();
      part.grad_features = sums.of_this_thread();
      edge_kernels<Edges>().backward(shape, part, 0, number);
    });
    sums.join();
  }

 private:
  static constexpr int64_t GRAIN = 16;    // centers per task
  static constexpr int64_t MIXED = 32;    // centers mixed at once: in the second-level cache

  /// Channels of a result before mixing.
  int64_t width(size_t z) const { return table.num_paths_to[z] * shape.num_channels; }

  /// Results of a block of centers, before mixing.
  struct Rows {
    std::vector<std::vector<T>> memory;
    std::vector<T *> pointers;
  };

  void check_matrices(const std::vector<at::Tensor> &matrices, int64_t axis) const
  {
    TORCH_CHECK(matrices.size() == table.dims.size(), "expected a matrix for each of ",
                table.dims.size(), " irreps, got ", matrices.size());
    for (size_t z = 0; z < matrices.size(); ++z)
      TORCH_CHECK(matrices[z].size(axis) == width(z), "expected a matrix of ", width(z),
                  " channels of irrep ", z, ", got ", matrices[z].sizes());
  }

  /// Calls body(problem of the block, its rows, first center, number of centers) on all threads.
  template <typename Body>
  void each_block(Body body) const
  {
    at::parallel_for(0, num_centers, MIXED, [&](int64_t begin, int64_t end) {
      Rows rows;
      for (size_t z = 0; z < table.dims.size(); ++z) {
        rows.memory.emplace_back(std::min(MIXED, end - begin) * table.dims[z] * width(z));
        rows.pointers.push_back(rows.memory.back().data());
      }
      for (int64_t first = begin; first < end; first += MIXED) {
        Edges part = data;
        part.offsets += first;
        body(part, rows, first, std::min(MIXED, end - first));
      }
    });
  }

  static void mix(const T *x, const at::Tensor &w, T *y, int64_t num_rows)
  {
    static const MixingKernel<T> &kernel = ICTP_BEST_OF(mixing_kernels);
    kernel.product({x, w.const_data_ptr<T>(), y, w.size(0), w.size(1)}, 0, num_rows);
  }

  static T *row_of(const at::Tensor &tensor, int64_t row)
  {
    return const_cast<T *>(tensor.const_data_ptr<T>()) + row * tensor.size(1) * tensor.size(2);
  }

  EdgeShape<T> shape{};
  EdgePaths table;
  Program<T> values, adjoint;
  std::vector<T *> out;
  std::vector<const T *> grad_out;
  int64_t num_centers;
};

}    // namespace ictp

#endif
