// SPDX-License-Identifier: MIT
#ifndef ICTP_EDGE_KERNELS_H
#define ICTP_EDGE_KERNELS_H

#include "ops/polynomial.h"

// The loops of the edge convolution, plain C++ without PyTorch. edge_kernels.cpp is compiled once
// per instruction set; edge_convolution.cpp and table_convolution.cpp pick one at run time.

namespace ictp {

/// One way to couple node features (rank l1) with harmonics (l2) to a result (l3).
struct EdgePath {
  int64_t in;        ///< first component of the feature irrep, in rows of C
  int64_t d1, d3;    ///< components of feature and result
  int64_t matrix;    ///< first element of its (d1, d3) block among the coupling matrices
  int64_t z;         ///< irrep of the result
  int64_t out;       ///< its place among the paths to that irrep
};

/// Shapes and tables shared by all edges. The polynomial's rows, one number per edge: leaves,
/// perhaps harmonics, coupling matrices. Leaves are harmonics and 1, or a direction and 1.
template <typename T>
struct EdgeShape {
  const EdgePath *paths;
  int64_t num_paths;
  const int64_t *num_paths_to;       ///< per irrep of the result
  ProgramView<T> values, adjoint;    ///< adjoint: gradients of harmonics and leaves
  int64_t num_leaves, num_rows;
  int64_t matrix_size;     ///< elements of the coupling matrices of one edge: the last rows
  int64_t num_channels;    ///< C, a multiple of 64 bytes
  int64_t in_size;         ///< components of a node's features
};

/// Radial weights between knots at equal distances, see `KnotWeights`.
template <typename T>
struct RadialTable {
  const T *knots = nullptr;            ///< (tables, intervals+1, P, ROWS_OF_KNOT, C)
  int64_t num_intervals = 0;           ///< of a table
  double spacing = 0.0;                ///< [A]; beyond the last knot all is zero
  const int64_t *of_edge = nullptr;    ///< (E) the table of each edge; null: the first
};

/// Operands, results and gradients of both kinds of edges; null where one is not wanted.
template <typename T>
struct EdgeData {
  using Scalar = T;
  const int64_t *neighbors = nullptr, *offsets = nullptr;
  const T *features = nullptr;
  T *const *out = nullptr;               ///< per irrep (N, d3, P_z*C)
  const T *const *grad_out = nullptr;    ///< the same
  T *grad_features = nullptr;            ///< added to; not shared between threads
};

/// Edges whose harmonics and radial weights are given.
template <typename T>
struct GivenEdges : EdgeData<T> {
  const T *harmonics = nullptr;    ///< (E, leaves-1)
  const T *radial = nullptr;       ///< (E, P*C)
  T *grad_harmonics = nullptr, *grad_radial = nullptr;
};

/// Edges whose vectors are given, and a table of the radial weights. The gradient of the vectors is
/// always wanted.
template <typename T>
struct TabulatedEdges : EdgeData<T> {
  const double *vectors = nullptr;    ///< (E, 3) [A]
  RadialTable<T> table;
  double *grad_vectors = nullptr;
};

/// One instruction set; centers begin, ..., end-1.
template <typename Edges>
struct EdgeKernels {
  using Kernel = void (*)(const EdgeShape<typename Edges::Scalar> &, const Edges &, int64_t begin,
                          int64_t end);
  Kernel forward, backward;
};

/// The kernels of each kind of edges are the base of that type.
struct EdgeKernelSet : EdgeKernels<GivenEdges<float>>,
                       EdgeKernels<GivenEdges<double>>,
                       EdgeKernels<TabulatedEdges<float>>,
                       EdgeKernels<TabulatedEdges<double>> {};

extern const EdgeKernelSet edge_kernels_baseline, edge_kernels_avx2, edge_kernels_avx512;

}    // namespace ictp

#endif
