// SPDX-License-Identifier: MIT
#ifndef ICTP_CUDA_DISPATCH_H
#define ICTP_CUDA_DISPATCH_H

#include "ops/tables.h"

#include <ATen/ATen.h>

#include <vector>

// The operators' kernels on a GPU as functions of tensors; defined in builds with ICTP_CUDA.

namespace ictp {

/// Operands of table_convolution, contiguous; channels in any number.
struct TableOperands {
  at::Tensor features, vectors, table;
  double r_cut;
  EdgeIndices edges;    ///< paths and polynomial on any device
};

std::vector<at::Tensor> cuda_table_forward(const TableOperands &x);

/// Fills the gradient of vectors and, if defined and zero, of features.
void cuda_table_backward(const std::vector<at::Tensor> &grads, const TableOperands &x,
                         const at::Tensor &grad_features, const at::Tensor &grad_vectors);

/// Operands of product_basis, contiguous; channels in any number.
struct ProductOperands {
  std::vector<at::Tensor> a;
  at::Tensor weights;
  NodeIndices nodes;    ///< the polynomial on any device
};

/// Fills the results.
void cuda_product_forward(const ProductOperands &x, const std::vector<at::Tensor> &results);

/// Fills the gradients of A and, if defined and zero, of the weights.
void cuda_product_backward(const ProductOperands &x, const std::vector<at::Tensor> &grads,
                           const std::vector<at::Tensor> &grad_a, const at::Tensor &grad_weights);

/// Fills the gradients of <moves, gradients> with respect to grads, A and, if defined and zero, the
/// weights. Moves: of A and the weights, undefined where zero.
void cuda_product_tangent(const ProductOperands &x, const std::vector<at::Tensor> &moves,
                          const std::vector<at::Tensor> &grads,
                          const std::vector<at::Tensor> &of_grads,
                          const std::vector<at::Tensor> &of_a, const at::Tensor &of_weights);

}    // namespace ictp

#endif
