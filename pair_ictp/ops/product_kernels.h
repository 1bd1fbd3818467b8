// SPDX-License-Identifier: MIT
#ifndef ICTP_PRODUCT_KERNELS_H
#define ICTP_PRODUCT_KERNELS_H

#include "ops/polynomial.h"

// The loops of the product basis, plain C++ without PyTorch. product_kernels.cpp is compiled once
// per instruction set; product_basis.cpp picks one at run time.

namespace ictp {

/// One row of channels per node, in a tensor; null: zero everywhere.
template <typename T>
struct NodeRow {
  T *first = nullptr;
  int64_t stride = 0;    ///< from node to node
};

/// The polynomial. Its rows: A, weights, intermediate ones, results.
template <typename T>
struct ProductShape {
  ProgramView<T> values;     ///< intermediate rows, then results
  ProgramView<T> adjoint;    ///< gradients of intermediate rows and of the wanted leaves
  int64_t num_a, num_weights, num_rows, num_results;
  int64_t num_channels;    ///< a multiple of 64 bytes
  int known;               ///< number among KnownProducts, or NOT_KNOWN
};

/// Operands and results; rows of A (num_a) or of the basis (num_results), weights (S, num_weights,
/// C). Tangents are the direction of a derivative; null where there is none.
template <typename T>
struct ProductData {
  int64_t num_nodes = 0;
  const int64_t *species = nullptr;
  const NodeRow<T> *a = nullptr, *a_tangent = nullptr;
  const T *weights = nullptr, *weights_tangent = nullptr;
  const NodeRow<T> *results = nullptr;         ///< written by forward, their tangent by tangent
  const NodeRow<T> *grad_results = nullptr;    ///< read by backward and tangent
  const NodeRow<T> *grad_a = nullptr;          ///< written by backward, its tangent by tangent
  T *grad_weights = nullptr;    ///< (S, num_weights, C), added to; not shared between threads
};

/// One instruction set; nodes begin, ..., end-1.
template <typename T>
struct ProductKernels {
  using Kernel = void (*)(const ProductShape<T> &, const ProductData<T> &, int64_t begin,
                          int64_t end);
  Kernel forward, backward, tangent;
  Kernel known_forward, known_backward;    ///< for shapes that are known; no gradients of weights
};

struct ProductKernelSet {
  ProductKernels<float> single;
  ProductKernels<double> full;
};

extern const ProductKernelSet product_kernels_baseline, product_kernels_avx2,
    product_kernels_avx512;

}    // namespace ictp

#endif
