// SPDX-License-Identifier: MIT
#include "ops/cuda/launch.h"
#include "ops/cuda/polynomial_device.h"
#include "ops/cuda/product_launch.h"

#include <algorithm>

// One thread per node and channel: it evaluates the polynomial alone, so threads never wait for
// each other. Its rows are a column of the block's shared memory, [row][thread]: lanes of a warp
// read the same row at the same time, which are neighboring words. (Registers cannot be indexed,
// and local memory of hundreds of rows would leave the first-level cache.)

namespace ictp {
namespace {

/// One node and channel.
template <typename T>
struct Lane {
  const DeviceProductShape<T> &shape;
  const DeviceProductData<T> &data;
  int64_t node, channel, species;

  __device__ Lane(const DeviceProductShape<T> &shape, const DeviceProductData<T> &data,
                  int64_t index)
      : shape(shape)
      , data(data)
      , node(index / data.num_channels)
      , channel(index % data.num_channels)
      , species(data.species[node])
  {
  }

  __device__ int num_leaves() const { return shape.num_a + shape.num_weights; }
  __device__ int first_result() const { return shape.num_rows - shape.num_results; }

  /// Row `row` of tensors; null where there is no tensor.
  template <typename U>
  __device__ U *place(const NodeTensors<U> &tensors, int row) const
  {
    int k = 0;
    for (; row >= tensors.dim[k]; ++k) row -= tensors.dim[k];
    if (!tensors.data[k])
      return nullptr;
    return tensors.data[k] + (node * tensors.dim[k] + row) * data.num_channels + channel;
  }

  __device__ T read(const NodeTensors<const T> &tensors, int row) const
  {
    const T *from = place(tensors, row);
    return from ? *from : T(0);
  }

  __device__ int64_t weight_at(int row) const
  {
    return (species * shape.num_weights + row) * data.num_channels + channel;
  }

  /// A and the weights, or their tangents, to the first rows.
  __device__ void load_leaves(const NodeTensors<const T> &a, const T *weights, T *rows,
                              int stride) const
  {
    for (int k = 0; k < shape.num_a; ++k) rows[k * stride] = read(a, k);
    for (int k = 0; k < shape.num_weights; ++k)
      rows[(shape.num_a + k) * stride] = weights ? weights[weight_at(k)] : T(0);
  }

  /// The given gradients to the rows of the results.
  __device__ void load_grads(T *rows, int stride) const
  {
    for (int k = 0; k < shape.num_results; ++k)
      rows[(first_result() + k) * stride] = read(data.grad_results, k);
  }

  /// The gradient of a leaf, or its tangent. Nodes share weights: those are added.
  __device__ void give_leaf(int row, T value) const
  {
    if (row < shape.num_a)
      *place(data.grad_a, row) = value;
    else
      atomicAdd(data.grad_weights + weight_at(row - shape.num_a), value);
  }
};

template <typename T>
__device__ void forward(const Lane<T> &lane, T *rows, int stride)
{
  lane.load_leaves(lane.data.a, lane.data.weights, rows, stride);
  const ProgramView<T> &program = lane.shape.values;
  for (int64_t k = 0; k < program.num_targets; ++k) {
    const T sum = sum_terms(program, k, rows, rows, stride);
    const int row = program.targets[k], result = row - lane.first_result();
    if (result < 0)
      rows[row * stride] = sum;
    else
      *lane.place(lane.data.results, result) = sum;
  }
}

/// Rows of gradients begin with the first computed one: those of leaves go to memory at once.
template <typename T>
__device__ T *grads_after(const Lane<T> &lane, T *values, int stride)
{
  return values + (lane.first_result() - lane.num_leaves()) * stride;
}

template <typename T>
__device__ void backward(const Lane<T> &lane, T *values, int stride)
{
  lane.load_leaves(lane.data.a, lane.data.weights, values, stride);
  const ProgramView<T> &program = lane.shape.values, &adjoint = lane.shape.adjoint;
  for (int64_t k = 0; k < program.num_targets - lane.shape.num_results; ++k)
    values[program.targets[k] * stride] = sum_terms(program, k, values, values, stride);
  T *grads = grads_after(lane, values, stride);
  lane.load_grads(grads, stride);
  for (int64_t k = 0; k < adjoint.num_targets; ++k) {
    const T sum = sum_terms(adjoint, k, grads, values, stride);
    const int row = adjoint.targets[k];
    if (row < lane.num_leaves())
      lane.give_leaf(row, sum);
    else
      grads[row * stride] = sum;
  }
}

/// Values and gradients with their derivatives along the tangents; grads of results do not move.
template <typename T>
__device__ void tangent(const Lane<T> &lane, T *values, int stride)
{
  const int num_values = lane.first_result(), num_grads = lane.shape.num_rows - lane.num_leaves();
  T *moves = values + num_values * stride;
  T *grads = grads_after(lane, moves, stride), *grad_moves = grads + num_grads * stride;
  lane.load_leaves(lane.data.a, lane.data.weights, values, stride);
  lane.load_leaves(lane.data.a_tangent, lane.data.weights_tangent, moves, stride);
  const ProgramView<T> &program = lane.shape.values, &adjoint = lane.shape.adjoint;
  for (int64_t k = 0; k < program.num_targets; ++k) {
    const Dual<T> sum = sum_terms_and_tangent(program, k, values, moves, values, moves, stride);
    const int row = program.targets[k], result = row - lane.first_result();
    if (result < 0) {
      values[row * stride] = sum.value;
      moves[row * stride] = sum.tangent;
    } else {
      *lane.place(lane.data.results, result) = sum.tangent;
    }
  }
  lane.load_grads(grads, stride);
  for (int k = lane.first_result(); k < lane.shape.num_rows; ++k) grad_moves[k * stride] = T(0);
  for (int64_t k = 0; k < adjoint.num_targets; ++k) {
    const Dual<T> sum = sum_terms_and_tangent(adjoint, k, grads, grad_moves, values, moves, stride);
    const int row = adjoint.targets[k];
    if (row < lane.num_leaves()) {
      lane.give_leaf(row, sum.tangent);
    } else {
      grads[row * stride] = sum.value;
      grad_moves[row * stride] = sum.tangent;
    }
  }
}

template <typename T>
int64_t rows_of(ProductKernel kernel, const DeviceProductShape<T> &shape)
{
  const int64_t values = shape.num_rows - shape.num_results;
  const int64_t grads = shape.num_rows - shape.num_a - shape.num_weights;
  if (kernel == ProductKernel::FORWARD)
    return values;
  return kernel == ProductKernel::BACKWARD ? values + grads : 2 * (values + grads);
}

/// SHARED: rows are in the memory of the block; else in scratch, where blocks are few and take
/// nodes in turn.
template <ProductKernel KERNEL, bool SHARED, typename T>
__global__ void product_kernel(const DeviceProductShape<T> shape, const DeviceProductData<T> data,
                               T *scratch, int64_t rows_per_thread)
{
  const int stride = blockDim.x;
  T *rows = threadIdx.x + (SHARED ? reinterpret_cast<T *>(shared_memory())
                                  : scratch + blockIdx.x * rows_per_thread * stride);
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  const int64_t num_lanes = data.num_nodes * data.num_channels;
  for (int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       index < num_lanes; index += step) {
    const Lane<T> lane(shape, data, index);
    if constexpr (KERNEL == ProductKernel::FORWARD)
      forward(lane, rows, stride);
    else if constexpr (KERNEL == ProductKernel::BACKWARD)
      backward(lane, rows, stride);
    else
      tangent(lane, rows, stride);
  }
}

template <ProductKernel KERNEL, typename T>
cudaError_t launch_one(const ProductPlan &plan, const DeviceProductShape<T> &shape,
                       const DeviceProductData<T> &data, T *scratch, cudaStream_t stream)
{
  const auto kernel =
      plan.scratch > 0 ? product_kernel<KERNEL, false, T> : product_kernel<KERNEL, true, T>;
  return launch(kernel, plan.num_blocks, plan.num_threads, plan.shared_bytes, stream, shape, data,
                scratch, rows_of(KERNEL, shape));
}

}    // namespace

template <typename T>
ProductPlan plan_product(ProductKernel kernel, const DeviceProductShape<T> &shape,
                         const DeviceProductData<T> &data)
{
  const int64_t num_lanes = data.num_nodes * data.num_channels, rows = rows_of(kernel, shape);
  const int64_t most_bytes = static_cast<int64_t>(most_shared_bytes());
  for (const int threads : {4 * WARP, 2 * WARP, WARP}) {
    const int64_t bytes = rows * threads * static_cast<int64_t>(sizeof(T));
    // room for two blocks on a multiprocessor, unless blocks cannot be smaller
    if (bytes <= (threads > WARP ? most_bytes / 2 : most_bytes))
      return {(num_lanes + threads - 1) / threads, threads, static_cast<std::size_t>(bytes), 0};
  }
  constexpr int THREADS = 4 * WARP, BLOCKS_EACH = 4;    // enough to hide the way to memory
  const int64_t num_blocks = std::min<int64_t>((num_lanes + THREADS - 1) / THREADS,
                                               int64_t{BLOCKS_EACH} * num_multiprocessors());
  return {num_blocks, THREADS, 0, num_blocks * THREADS * rows};
}

template <typename T>
cudaError_t launch_product(ProductKernel kernel, const ProductPlan &plan,
                           const DeviceProductShape<T> &shape, const DeviceProductData<T> &data,
                           T *scratch, cudaStream_t stream)
{
  switch (kernel) {
    case ProductKernel::FORWARD:
      return launch_one<ProductKernel::FORWARD>(plan, shape, data, scratch, stream);
    case ProductKernel::BACKWARD:
      return launch_one<ProductKernel::BACKWARD>(plan, shape, data, scratch, stream);
    default:
      return launch_one<ProductKernel::TANGENT>(plan, shape, data, scratch, stream);
  }
}

template ProductPlan plan_product(ProductKernel, const DeviceProductShape<float> &,
                                  const DeviceProductData<float> &);
template ProductPlan plan_product(ProductKernel, const DeviceProductShape<double> &,
                                  const DeviceProductData<double> &);
template cudaError_t launch_product(ProductKernel, const ProductPlan &,
                                    const DeviceProductShape<float> &,
                                    const DeviceProductData<float> &, float *, cudaStream_t);
template cudaError_t launch_product(ProductKernel, const ProductPlan &,
                                    const DeviceProductShape<double> &,
                                    const DeviceProductData<double> &, double *, cudaStream_t);

}    // namespace ictp
