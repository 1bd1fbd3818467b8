// SPDX-License-Identifier: MIT
#include "ops/cuda/launch.h"
#include "ops/cuda/product_launch.h"
#include "ops/known_product.h"

#include <limits>

// One thread per node and channel, as in product_kernels.cu, for polynomials that the compiler
// knows: all rows are registers, and nothing is read but A and the weights.

namespace ictp {
namespace {

constexpr int THREADS = 4 * WARP;

/// Where the first component of irrep k of a node and channel is.
template <typename U>
__device__ U *place(const NodeTensors<U> &tensors, int k, int dim, int64_t node, int channel,
                    int num_channels)
{
  return tensors.data[k] + node * dim * num_channels + channel;
}

template <typename Table, bool GRADIENT, typename T>
__global__ void __launch_bounds__(THREADS)
    known_product_kernel(const DeviceProductData<T> data, uint32_t num_lanes)
{
  using Known = KnownProduct<Table>;
  const uint32_t index = blockIdx.x * THREADS + threadIdx.x;
  const int num_channels = static_cast<int>(data.num_channels);
  if (index >= num_lanes)
    return;
  const int64_t node = index / static_cast<uint32_t>(num_channels);
  const int channel = static_cast<int>(index % static_cast<uint32_t>(num_channels));
  T rows[Known::NUM_ROWS];
  unrolled<Known::NUM_IRREPS_A>([&](auto k) {
    using Irrep = typename Known::template IrrepOfA<decltype(k)::value>;
    const T *a = place(data.a, k.value, Irrep::DIM, node, channel, num_channels);
    for (int m = 0; m < Irrep::DIM; ++m) rows[Irrep::FIRST + m] = a[m * num_channels];
  });
  const T *weights =
      data.weights + data.species[node] * Known::NUM_WEIGHTS * num_channels + channel;
  for (int k = 0; k < Known::NUM_WEIGHTS; ++k) rows[Known::NUM_A + k] = weights[k * num_channels];
  unrolled<Known::NUM_INNER>([&](auto k) {
    rows[Known::LEAVES + decltype(k)::value] = sum_terms_of<Table, decltype(k)::value>(rows);
  });
  if constexpr (!GRADIENT) {
    unrolled<Known::NUM_IRREPS>([&](auto k) {
      using Irrep = typename Known::template IrrepOfResult<decltype(k)::value>;
      T *results = place(data.results, k.value, Irrep::DIM, node, channel, num_channels);
      unrolled<Irrep::DIM>([&](auto m) {
        constexpr int M = decltype(m)::value;
        results[M * num_channels] = sum_terms_of<Table, Irrep::FIRST_TARGET + M>(rows);
      });
    });
  } else {
    T grads[Known::NUM_ROWS] = {};    // those of the weights nobody reads, nor computes then
    unrolled<Known::NUM_IRREPS>([&](auto k) {
      using Irrep = typename Known::template IrrepOfResult<decltype(k)::value>;
      const T *given = place(data.grad_results, k.value, Irrep::DIM, node, channel, num_channels);
      unrolled<Irrep::DIM>([&](auto m) {
        constexpr int M = decltype(m)::value;
        give_to_terms_of<Table, Irrep::FIRST_TARGET + M>(given[M * num_channels], rows, grads);
      });
    });
    unrolled<Known::NUM_INNER>([&](auto k) {
      constexpr int K = Known::NUM_INNER - 1 - decltype(k)::value;
      give_to_terms_of<Table, K>(grads[Known::LEAVES + K], rows, grads);
    });
    unrolled<Known::NUM_IRREPS_A>([&](auto k) {
      using Irrep = typename Known::template IrrepOfA<decltype(k)::value>;
      T *found = place(data.grad_a, k.value, Irrep::DIM, node, channel, num_channels);
      for (int m = 0; m < Irrep::DIM; ++m) found[m * num_channels] = grads[Irrep::FIRST + m];
    });
  }
}

}    // namespace

template <typename T>
bool has_known_kernel(ProductKernel kernel, const DeviceProductShape<T> &shape,
                      const DeviceProductData<T> &data)
{
  return shape.known != NOT_KNOWN && kernel != ProductKernel::TANGENT && !data.grad_weights &&
         data.num_nodes * data.num_channels <= std::numeric_limits<int32_t>::max();
}

template <typename T>
cudaError_t launch_known_product(ProductKernel kernel, int known, const DeviceProductData<T> &data,
                                 cudaStream_t stream)
{
  return with_known<KnownProducts>(known, [&](auto table) {
    using Table = decltype(table);
    const auto num_lanes = static_cast<uint32_t>(data.num_nodes * data.num_channels);
    return launch(kernel == ProductKernel::FORWARD ? known_product_kernel<Table, false, T>
                                                   : known_product_kernel<Table, true, T>,
                  (num_lanes + THREADS - 1) / THREADS, THREADS, 0, stream, data, num_lanes);
  });
}

template bool has_known_kernel(ProductKernel, const DeviceProductShape<float> &,
                               const DeviceProductData<float> &);
template bool has_known_kernel(ProductKernel, const DeviceProductShape<double> &,
                               const DeviceProductData<double> &);
template cudaError_t launch_known_product(ProductKernel, int, const DeviceProductData<float> &,
                                          cudaStream_t);
template cudaError_t launch_known_product(ProductKernel, int, const DeviceProductData<double> &,
                                          cudaStream_t);

}    // namespace ictp
