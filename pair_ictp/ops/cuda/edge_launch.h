// SPDX-License-Identifier: MIT
#ifndef ICTP_CUDA_EDGE_LAUNCH_H
#define ICTP_CUDA_EDGE_LAUNCH_H

#include "ops/known.h"
#include "ops/edge_kernels.h"

#include <cuda_runtime_api.h>

// What starts the edge convolution on a GPU: plain pointers to its memory, no PyTorch.

namespace ictp {

/// Irreps that pointers in kernel arguments have room for: ranks 0 to 7, true and pseudo.
constexpr int MOST_IRREPS = 16;

/// A polynomial for several threads: rows of one level need only rows of those before.
template <typename T>
struct LevelProgram {
  ProgramView<T> program;
  const int32_t *levels;    ///< (num_levels+1) the first target of each, and the end
  int32_t num_levels;
};

/// Tables shared by all edges; rows as in EdgeShape.
template <typename T>
struct DeviceEdgeShape {
  const EdgePath *paths;
  LevelProgram<T> values, adjoint;
  int32_t num_paths, num_leaves, num_rows, matrix_size;
  int32_t largest_dim;    ///< components of the largest irrep of the result
  int32_t known;          ///< number among KnownConvolutions, or NOT_KNOWN
};

/// Operands, results and gradients of both kinds of edges.
template <typename T>
struct DeviceEdgeData {
  using Scalar = T;
  const int64_t *neighbors, *offsets;
  int64_t num_centers;
  int32_t num_channels;    ///< C, any number
  int32_t in_size;         ///< components of a node's features
  const T *features;
  int32_t num_paths_to[MOST_IRREPS];
  T *out[MOST_IRREPS];               ///< per irrep (N, d3, P_z*C)
  const T *grad_out[MOST_IRREPS];    ///< the same
  T *grad_features;                  ///< added to; null: not wanted
};

/// As TabulatedEdges.
template <typename T>
struct DeviceTabulatedEdges : DeviceEdgeData<T> {
  int32_t table_channels;    ///< those of the table: C or more
  const double *vectors;
  RadialTable<T> table;
  double *grad_vectors;
};

/// As GivenEdges.
template <typename T>
struct DeviceGivenEdges : DeviceEdgeData<T> {
  const T *harmonics;                 ///< (E, leaves-1)
  const T *radial;                    ///< (E, P*C)
  T *grad_harmonics, *grad_radial;    ///< null: not wanted
};

/// cudaErrorInvalidConfiguration: not even one edge's tables fit into the memory of a block.
template <typename Edges>
cudaError_t launch_edge_forward(const DeviceEdgeShape<typename Edges::Scalar> &shape,
                                const Edges &data, cudaStream_t stream);

template <typename Edges>
cudaError_t launch_edge_backward(const DeviceEdgeShape<typename Edges::Scalar> &shape,
                                 const Edges &data, cudaStream_t stream);

/// The same by kernels made for the tables of this number; the two above call them.
template <typename T>
cudaError_t launch_known_forward(int known, const DeviceTabulatedEdges<T> &data,
                                 cudaStream_t stream);

template <typename T>
cudaError_t launch_known_backward(int known, const DeviceTabulatedEdges<T> &data,
                                  cudaStream_t stream);

}    // namespace ictp

#endif
