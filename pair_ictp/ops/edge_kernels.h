// SPDX-License-Identifier: MIT
#ifndef ICTP_EDGE_KERNELS_H
#define ICTP_EDGE_KERNELS_H

#include <cstdint>

// The loops of the edge convolution, plain C++ without PyTorch. edge_kernels.cpp is compiled once
// per instruction set; edge_convolution.cpp picks one at run time.

namespace ictp {

/// One way to couple node features (rank l1) with harmonics (l2) to a result (l3).
struct EdgePath {
  int64_t in;        ///< first component of the feature irrep, in rows of C
  int64_t d1, d3;    ///< components of feature and result
  int64_t matrix;    ///< first element of its (d1, d3) block among the coupling matrices
  int64_t out;       ///< first row of C of the result
  int64_t stride;    ///< rows of C from one component of the result to the next
};

/// matrix[slot] += value * harmonics[component], one nonzero coupling coefficient.
struct EdgeTerm {
  int64_t slot, component;
  double value;
};

/// Shapes and tables shared by all edges.
struct EdgeTable {
  const EdgePath *paths;
  int64_t num_paths;
  const EdgeTerm *terms;
  int64_t num_terms;
  int64_t matrix_size;     ///< coupling matrices of one edge, all paths
  int64_t num_channels;    ///< C
  int64_t in_size;         ///< components of a node's features
  int64_t out_size;        ///< rows of C of a center's result
  int64_t harmonics_size;
};

/// out[center] = sum over its edges of matrix(Y) (h_neighbor * R). scratch: matrix_size.
template <typename T>
struct EdgeForward {
  const T *features, *harmonics, *radial;
  T *out;
};

/// Gradients for a given gradient of the result; null where one is not wanted.
template <typename T>
struct EdgeBackward {
  const T *grad_out, *features, *harmonics, *radial;
  T *grad_features, *grad_harmonics, *grad_radial;
};

/// One instruction set.
struct EdgeKernels {
  void (*forward_float)(const EdgeTable &, const EdgeForward<float> &, int64_t center,
                        const int64_t *neighbors, int64_t first, int64_t last, float *scratch);
  void (*forward_double)(const EdgeTable &, const EdgeForward<double> &, int64_t center,
                         const int64_t *neighbors, int64_t first, int64_t last, double *scratch);
  /// scratch: 2 * matrix_size
  void (*backward_float)(const EdgeTable &, const EdgeBackward<float> &, int64_t edge,
                         int64_t center, int64_t neighbor, float *scratch);
  void (*backward_double)(const EdgeTable &, const EdgeBackward<double> &, int64_t edge,
                          int64_t center, int64_t neighbor, double *scratch);
};

extern const EdgeKernels edge_kernels_baseline, edge_kernels_avx2, edge_kernels_avx512;

}    // namespace ictp

#endif
