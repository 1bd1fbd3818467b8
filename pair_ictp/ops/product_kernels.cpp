// SPDX-License-Identifier: MIT
#include "ops/product_kernels.h"

#include "ops/known_product_kernels.h"
#include "ops/polynomial_kernels.h"

#include <cstdlib>

// Compiled once per instruction set (ICTP_PRODUCT names it).

namespace ictp {
namespace {

/// Vectors of channels taken together: the rows of one node then stay in the first-level cache.
constexpr int MOST = 4;

/// Memory for `num_rows` rows of one run, and pointers to the rows of one node.
template <typename T>
class Rows {
 public:
  Rows(const ProductShape<T> &shape, int64_t num_rows)
      : shape(shape)
      , pointers(static_cast<T **>(std::malloc(num_rows * sizeof(T *))))
      , memory(static_cast<T *>(std::aligned_alloc(64, num_rows * ROW * sizeof(T))))
  {
    for (int64_t k = 0; k < num_rows; ++k) pointers[k] = memory + k * ROW;
    for (int64_t k = 0; k < num_rows * ROW; ++k) memory[k] = T(0);
  }

  Rows(const Rows &) = delete;
  Rows &operator=(const Rows &) = delete;

  ~Rows()
  {
    std::free(pointers);
    std::free(memory);
  }

  /// Lets the rows from `first` on be those of tensors, where there are tensors.
  void place(int64_t first, const NodeRow<T> *rows, int64_t count, int64_t node, int64_t channel)
  {
    for (int64_t k = 0; rows && k < count; ++k)
      if (rows[k].first)
        pointers[first + k] = rows[k].first + node * rows[k].stride + channel;
  }

  void place_a(const NodeRow<T> *rows, int64_t node, int64_t channel)
  {
    place(0, rows, shape.num_a, node, channel);
  }

  void place_results(const NodeRow<T> *rows, int64_t node, int64_t channel)
  {
    place(shape.num_rows - shape.num_results, rows, shape.num_results, node, channel);
  }

  void place_weights(const T *weights, int64_t species, int64_t channel)
  {
    if (weights)
      for (int64_t k = 0; k < shape.num_weights; ++k)
        pointers[shape.num_a + k] = const_cast<T *>(weights) +
                                    (species * shape.num_weights + k) * shape.num_channels +
                                    channel;
  }

  /// Adds the rows of the weights to those of a species.
  template <int N>
  void add_weights_to(T *sums, int64_t species, int64_t channel, Number<N>) const
  {
    for (int64_t k = 0; k < shape.num_weights; ++k) {
      T *to = sums + (species * shape.num_weights + k) * shape.num_channels + channel;
      const T *from = pointers[shape.num_a + k];
      for (int64_t n = 0; n < N * BLOCK<T>; n += BLOCK<T>)
        store(to + n, load(to + n) + load(from + n));
    }
  }

  T *const *data() const { return pointers; }

 private:
  static constexpr int64_t ROW = MOST * BLOCK<T>;
  const ProductShape<T> &shape;
  T **pointers;
  T *memory;
};

/// The program without its last rows, the results.
template <typename T>
ProgramView<T> intermediate(const ProductShape<T> &shape)
{
  ProgramView<T> program = shape.values;
  program.num_targets -= shape.num_results;
  return program;
}

template <typename T>
void forward(const ProductShape<T> &shape, const ProductData<T> &data, int64_t begin, int64_t end)
{
  Rows<T> values(shape, shape.num_rows);
  for (int64_t node = begin; node < end; ++node)
    each_run<T, MOST>(shape.num_channels, [&](int64_t c, auto number) {
      values.place_a(data.a, node, c);
      values.place_weights(data.weights, data.species[node], c);
      values.place_results(data.results, node, c);
      run(number, shape.values, values.data(), values.data(), values.data());
    });
}

template <typename T>
void backward(const ProductShape<T> &shape, const ProductData<T> &data, int64_t begin, int64_t end)
{
  Rows<T> values(shape, shape.num_rows), grads(shape, shape.num_rows);
  const ProgramView<T> inner = intermediate(shape);
  for (int64_t node = begin; node < end; ++node)
    each_run<T, MOST>(shape.num_channels, [&](int64_t c, auto number) {
      const int64_t species = data.species[node];
      values.place_a(data.a, node, c);
      values.place_weights(data.weights, species, c);
      run(number, inner, values.data(), values.data(), values.data());
      grads.place_a(data.grad_a, node, c);
      grads.place_results(data.grad_results, node, c);
      run(number, shape.adjoint, grads.data(), grads.data(), values.data());
      if (data.grad_weights)
        grads.add_weights_to(data.grad_weights, species, c, number);
    });
}

template <typename T>
void tangent(const ProductShape<T> &shape, const ProductData<T> &data, int64_t begin, int64_t end)
{
  Rows<T> values(shape, shape.num_rows), moves(shape, shape.num_rows);
  Rows<T> grads(shape, shape.num_rows), grad_moves(shape, shape.num_rows);
  const ProgramView<T> inner = intermediate(shape);
  for (int64_t node = begin; node < end; ++node)
    each_run<T, MOST>(shape.num_channels, [&](int64_t c, auto number) {
      const int64_t species = data.species[node];
      values.place_a(data.a, node, c);
      values.place_weights(data.weights, species, c);
      run(number, inner, values.data(), values.data(), values.data());
      moves.place_a(data.a_tangent, node, c);
      moves.place_weights(data.weights_tangent, species, c);
      moves.place_results(data.results, node, c);
      run_tangent(number, shape.values, moves.data(), values.data(), moves.data(), values.data(),
                  moves.data());
      grads.place_results(data.grad_results, node, c);
      run(number, shape.adjoint, grads.data(), grads.data(), values.data());
      grad_moves.place_a(data.grad_a, node, c);
      run_tangent(number, shape.adjoint, grad_moves.data(), grads.data(), grad_moves.data(),
                  values.data(), moves.data());
      if (data.grad_weights)
        grad_moves.add_weights_to(data.grad_weights, species, c, number);
    });
}

}    // namespace

extern const ProductKernelSet ICTP_PRODUCT;
const ProductKernelSet ICTP_PRODUCT = {
    {forward<float>, backward<float>, tangent<float>, known_forward<float>, known_backward<float>},
    {forward<double>, backward<double>, tangent<double>, known_forward<double>,
     known_backward<double>}};

}    // namespace ictp
