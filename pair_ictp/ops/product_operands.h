// SPDX-License-Identifier: MIT
#ifndef ICTP_PRODUCT_OPERANDS_H
#define ICTP_PRODUCT_OPERANDS_H

#include "ops/tables.h"

#include <vector>

// What the kernels of product_basis on every device share: operands and the memory of results. An
// empty tensor (0) stands for one that is not wanted or zero.

namespace ictp {

/// Operands on any device, contiguous and of shapes that fit.
struct ProductOperands {
  std::vector<at::Tensor> a;    ///< (N, d, C) per irrep
  at::Tensor weights;           ///< (species, rows, C)
  NodeIndices nodes;            ///< the polynomial on any device
  int64_t num_channels;         ///< C, as given

  /// Tables: species and the polynomial; dims: components of each irrep of the result.
  ProductOperands(at::TensorList given, const at::Tensor &given_weights, at::TensorList tables,
                  at::IntArrayRef dims)
      : weights(given_weights.contiguous())
  {
    constexpr auto NAME = "ictp::product_basis";
    TORCH_CHECK(!given.empty() && weights.dim() == 3 && tables.size() == NUM_NODE_TABLES &&
                    tables[0].dim() == 1,
                NAME, ": expected tensors (N, d, C), weights (species, rows, C) and species (N)");
    num_channels = weights.size(2);
    nodes = {tables[0].contiguous(), {tables[1], tables[2], tables[3]}, dims.vec()};
    for (const int64_t dim : dims)
      TORCH_CHECK(dim > 0 && dim < 1024, NAME, ": expected components of the results, got ", dims);
    TORCH_CHECK(weights.scalar_type() == at::kFloat || weights.scalar_type() == at::kDouble, NAME,
                ": expected float32 or float64");
    check_device(NAME, {weights, nodes.species});
    for (const at::Tensor &tensor : given) {
      TORCH_CHECK(tensor.dim() == 3, NAME, ": expected (N, d, C), got ", tensor.sizes());
      a.push_back(like(tensor, tensor.size(1)));
    }
  }

  /// A tensor in one piece, refused if it is not (N, dim, C) of the type of the weights.
  at::Tensor like(const at::Tensor &tensor, int64_t dim) const
  {
    const at::DimVector sizes = {nodes.species.size(0), dim, num_channels};
    TORCH_CHECK(tensor.sizes() == sizes && tensor.device() == weights.device() &&
                    tensor.scalar_type() == weights.scalar_type(),
                "ictp::product_basis: expected ", at::IntArrayRef(sizes), " on the ",
                weights.is_cpu() ? "CPU" : "GPU", " in the type of the weights, got ",
                tensor.sizes());
    return tensor.contiguous();
  }

  /// Gradients of the results in one piece.
  std::vector<at::Tensor> grads(at::TensorList given) const
  {
    std::vector<at::Tensor> found;
    for (size_t k = 0; k < given.size(); ++k) found.push_back(like(given[k], nodes.dims[k]));
    return found;
  }

  /// Directions of A and the weights in one piece, undefined where they are zero.
  std::vector<at::Tensor> moves(at::TensorList given) const
  {
    TORCH_CHECK(given.size() == a.size() + 1, "ictp::product_basis: expected ", a.size() + 1,
                " directions, got ", given.size());
    std::vector<at::Tensor> found(given.size());
    for (size_t k = 0; k < a.size(); ++k)
      if (given[k].dim() == 3)
        found[k] = like(given[k], a[k].size(1));
    if (given.back().dim() == 3) {
      const at::DimVector sizes = {weights.size(0), weights.size(1), num_channels};
      TORCH_CHECK(given.back().sizes() == sizes, "ictp::product_basis: expected a direction ",
                  at::IntArrayRef(sizes), ", got ", given.back().sizes());
      found.back() = given.back().contiguous();
    }
    return found;
  }
};

inline std::vector<int64_t> dims_of(at::TensorList tensors)
{
  std::vector<int64_t> dims;
  for (const at::Tensor &tensor : tensors)
    dims.push_back(tensor.sym_size(1).guard_int(__FILE__, __LINE__));
  return dims;
}

/// Memory of the results: (N, d, C) per irrep.
inline std::vector<at::Tensor> product_results(at::TensorList a, const at::Tensor &weights,
                                               at::IntArrayRef dims)
{
  std::vector<at::Tensor> found;
  for (const int64_t dim : dims)
    found.push_back(
        at::empty_symint({a[0].sym_size(0), dim, weights.sym_size(2)}, weights.options()));
  return found;
}

/// Memory of gradients: of A and, zero, of the weights.
inline std::vector<at::Tensor> product_gradients(at::TensorList a, const at::Tensor &weights,
                                                 bool weights_wanted)
{
  std::vector<at::Tensor> found;
  for (const at::Tensor &tensor : a)
    found.push_back(at::empty_like(tensor, at::MemoryFormat::Contiguous));
  found.push_back(weights_wanted ? at::zeros_symint(weights.sym_sizes(), weights.options())
                                 : at::empty({0}, weights.options()));
  return found;
}

/// The gradient of the weights among those of `product_gradients`, undefined if it is not wanted.
inline at::Tensor gradient_of_weights(const std::vector<at::Tensor> &found)
{
  return found.back().dim() == 3 ? found.back() : at::Tensor();
}

}    // namespace ictp

#endif
