// SPDX-License-Identifier: MIT
#ifndef ICTP_CUDA_PRODUCT_LAUNCH_H
#define ICTP_CUDA_PRODUCT_LAUNCH_H

#include "ops/known.h"
#include "ops/polynomial.h"

#include <cuda_runtime_api.h>

#include <cstddef>

// What starts the product basis on a GPU: plain pointers to its memory, no PyTorch.

namespace ictp {

/// Tensors that kernel arguments have room for: ranks 0 to 7, true and pseudo.
constexpr int MOST_TENSORS = 16;

/// Tensors (N, d, C), one per irrep; their components are rows. Null: zero everywhere.
template <typename T>
struct NodeTensors {
  T *data[MOST_TENSORS];
  int32_t dim[MOST_TENSORS];
  int32_t count;
};

/// The polynomial; rows as in ProductShape: A, weights, intermediate ones, results.
template <typename T>
struct DeviceProductShape {
  ProgramView<T> values;     ///< intermediate rows, then results
  ProgramView<T> adjoint;    ///< gradients of intermediate rows and of the wanted leaves
  int32_t num_a, num_weights, num_rows, num_results;
  int32_t known;    ///< number among KnownProducts, or NOT_KNOWN
};

/// Operands and results as in ProductData.
template <typename T>
struct DeviceProductData {
  int64_t num_nodes, num_channels;
  const int64_t *species;
  NodeTensors<const T> a, a_tangent;
  const T *weights, *weights_tangent;
  NodeTensors<T> results;               ///< written by forward, their tangent by tangent
  NodeTensors<const T> grad_results;    ///< read by backward and tangent
  NodeTensors<T> grad_a;                ///< written by backward, its tangent by tangent
  T *grad_weights;                      ///< added to; null: not wanted
};

enum class ProductKernel { FORWARD, BACKWARD, TANGENT };

/// How a kernel is started. Rows live in the memory of a block or, if they are too many, in
/// `scratch` numbers of the device's.
struct ProductPlan {
  int64_t num_blocks;
  int num_threads;
  std::size_t shared_bytes;
  int64_t scratch;
};

template <typename T>
ProductPlan plan_product(ProductKernel kernel, const DeviceProductShape<T> &shape,
                         const DeviceProductData<T> &data);

template <typename T>
cudaError_t launch_product(ProductKernel kernel, const ProductPlan &plan,
                           const DeviceProductShape<T> &shape, const DeviceProductData<T> &data,
                           T *scratch, cudaStream_t stream);

/// Whether there is a kernel made for these tables, which needs no plan: for values, and for
/// gradients of A alone.
template <typename T>
bool has_known_kernel(ProductKernel kernel, const DeviceProductShape<T> &shape,
                      const DeviceProductData<T> &data);

template <typename T>
cudaError_t launch_known_product(ProductKernel kernel, int known, const DeviceProductData<T> &data,
                                 cudaStream_t stream);

}    // namespace ictp

#endif
