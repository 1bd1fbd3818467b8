// SPDX-License-Identifier: MIT
#ifndef ICTP_CUDA_EDGE_TABLES_H
#define ICTP_CUDA_EDGE_TABLES_H

#include "ops/cuda/edge_launch.h"
#include "ops/cuda/table_cache.h"
#include "ops/known_match.h"

// What the two forms of the edge convolution on a GPU share: tables in its memory, and pointers.

namespace ictp {

/// Where a new level begins: at the first target that needs a row of the level before it ends.
template <typename T>
std::vector<int32_t> levels_of(const ProgramView<T> &program, int64_t num_rows, bool rows_right)
{
  std::vector<int32_t> levels{0};
  std::vector<bool> pending(num_rows, false);    // rows of the level at hand
  for (int64_t k = 0; k < program.num_targets; ++k) {
    bool needed = false;
    for (int32_t n = program.offsets[k]; n < program.offsets[k + 1]; ++n) {
      const Term<T> &term = program.terms[n];
      needed = needed || pending[term.left] || (rows_right && pending[term.right]);
    }
    if (needed) {
      levels.push_back(static_cast<int32_t>(k));
      pending.assign(num_rows, false);
    }
    pending[program.targets[k]] = true;
  }
  levels.push_back(static_cast<int32_t>(program.num_targets));
  return levels;
}

template <typename T>
class DeviceLevels {
 public:
  /// rows_right: the right factors, too, are rows that the program computes.
  DeviceLevels(const ProgramView<T> &host, int64_t num_rows, bool rows_right,
               const at::Device &device)
      : program(host, device)
  {
    const std::vector<int32_t> found = levels_of(host, num_rows, rows_right);
    num_levels = static_cast<int32_t>(found.size()) - 1;
    levels = upload(found.data(), static_cast<int64_t>(found.size()), device);
  }

  LevelProgram<T> view() const { return {program.view(), pointer<int32_t>(levels), num_levels}; }

 private:
  DeviceProgram<T> program;
  int32_t num_levels;
  at::Tensor levels;
};

/// All that is the same in every call of one convolution of a model.
template <typename T>
struct EdgeTables {
  std::vector<int64_t> num_paths_to, dims;    ///< per irrep of the result
  at::Tensor paths;
  std::vector<DeviceLevels<T>> programs;    ///< values, adjoint
  DeviceEdgeShape<T> shape{};

  /// num_leaves: a direction or harmonics, and 1; in_size: components of a node's features.
  EdgeTables(const EdgeIndices &edges, int64_t num_leaves, int64_t in_size,
             const at::Device &device)
  {
    const EdgePaths host(on_cpu(edges.paths), in_size);
    num_paths_to = host.num_paths_to;
    dims = host.dims;
    shape.matrix_size = static_cast<int32_t>(host.matrix_size);
    for (const int64_t dim : dims)
      shape.largest_dim = std::max(shape.largest_dim, static_cast<int32_t>(dim));
    paths = upload(host.paths.data(), static_cast<int64_t>(host.paths.size()), device);
    const Polynomial polynomial = on_cpu(edges.polynomial);
    const int64_t num_targets = polynomial.offsets.size(0) - 1, num_rows = num_leaves + num_targets;
    const auto program = read_program<T>(num_leaves, host.matrix_size, polynomial);
    const Program<T> adjoint =
        program.adjoint(num_leaves, num_rows - shape.matrix_size, [&](int64_t leaf) {
          return leaf + 1 < num_leaves;
        });
    programs.emplace_back(program.view(), num_rows, true, device);
    programs.emplace_back(adjoint.view(), num_rows, false, device);
    shape.num_paths = static_cast<int32_t>(host.paths.size());
    shape.num_leaves = static_cast<int32_t>(num_leaves);
    shape.num_rows = static_cast<int32_t>(num_rows);
    shape.paths = pointer<EdgePath>(paths);
    shape.known = find_convolution(host, polynomial);
    shape.values = programs[0].view();
    shape.adjoint = programs[1].view();
  }
};

/// Those of an operator of this name, from the first call on.
template <typename T>
std::shared_ptr<const EdgeTables<T>> edge_tables(const char *name, const EdgeIndices &edges,
                                                 int64_t num_leaves, const at::Tensor &features)
{
  // never destroyed: at the end of a process CUDA may be gone before
  static auto &cache = *new TableCache<EdgeTables<T>>;
  const at::Device device = features.device();
  const auto &[offsets, terms, values] = edges.polynomial;
  const int64_t in_size = features.size(1);
  const auto tables =
      cache.find({edges.paths, offsets, terms, values}, {device.index(), in_size, num_leaves}, [&] {
        return EdgeTables<T>(edges, num_leaves, in_size, device);
      });
  TORCH_CHECK(tables->dims.size() <= MOST_IRREPS, name, ": expected at most ", MOST_IRREPS,
              " irreps of the result on a GPU, got ", tables->dims.size());
  return tables;
}

/// Fills what both kinds of edges have.
template <typename T>
void fill(DeviceEdgeData<T> &data, const EdgeIndices &edges, const at::Tensor &features,
          const EdgeTables<T> &tables)
{
  data.neighbors = edges.neighbors.const_data_ptr<int64_t>();
  data.offsets = edges.offsets.const_data_ptr<int64_t>();
  data.num_centers = edges.offsets.size(0) - 1;
  data.num_channels = static_cast<int32_t>(features.size(2));
  data.in_size = static_cast<int32_t>(features.size(1));
  data.features = features.const_data_ptr<T>();
  for (size_t z = 0; z < tables.dims.size(); ++z)
    data.num_paths_to[z] = static_cast<int32_t>(tables.num_paths_to[z]);
}

/// Memory of the results, which `data` then has.
template <typename T>
std::vector<at::Tensor> edge_results(DeviceEdgeData<T> &data, const EdgeTables<T> &tables,
                                     const at::TensorOptions &options)
{
  std::vector<at::Tensor> results;
  for (size_t z = 0; z < tables.dims.size(); ++z) {
    results.push_back(at::empty(
        {data.num_centers, tables.dims[z], tables.num_paths_to[z] * data.num_channels}, options));
    data.out[z] = results.back().template data_ptr<T>();
  }
  return results;
}

/// Lets `data` have gradients of the results, in one piece.
template <typename T>
void take_grads(DeviceEdgeData<T> &data, const EdgeTables<T> &tables, const char *name,
                const std::vector<at::Tensor> &grads)
{
  TORCH_CHECK(grads.size() == tables.dims.size(), name, ": expected a gradient of each result");
  for (size_t z = 0; z < tables.dims.size(); ++z) {
    const at::DimVector sizes = {data.num_centers, tables.dims[z],
                                 tables.num_paths_to[z] * data.num_channels};
    TORCH_CHECK(grads[z].sizes() == sizes, name, ": expected a gradient ", at::IntArrayRef(sizes),
                ", got ", grads[z].sizes());
    data.grad_out[z] = grads[z].const_data_ptr<T>();
  }
}

}    // namespace ictp

#endif
