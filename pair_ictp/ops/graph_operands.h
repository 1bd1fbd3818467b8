// SPDX-License-Identifier: MIT
#ifndef ICTP_GRAPH_OPERANDS_H
#define ICTP_GRAPH_OPERANDS_H

#include "ops/graph_kernels.h"
#include "ops/tables.h"

#include <limits>
#include <tuple>

namespace ictp {

/// Operands of edges_within on any device, contiguous and of shapes that fit. Their numbers are
/// those of a GraphBuilder: nobody looks at them again.
struct CandidateOperands {
  at::Tensor positions, offsets, atoms, nodes, node_atoms, species, shortest;
  double r_cut;

  /// candidates: offsets, atoms, nodes, node_atoms and species of CandidateEdges; shortest: (S, S),
  /// or (0, 0) if nobody asks.
  CandidateOperands(const at::Tensor &x, at::TensorList candidates, const at::Tensor &shortest,
                    double r_cut)
      : positions(x.contiguous())
      , shortest(shortest.contiguous())
      , r_cut(r_cut)
  {
    constexpr auto NAME = "ictp::edges_within";
    TORCH_CHECK(candidates.size() == 5, NAME,
                ": expected offsets, atoms, nodes, node_atoms and species of candidates");
    offsets = candidates[0].contiguous();
    atoms = candidates[1].contiguous();
    nodes = candidates[2].contiguous();
    node_atoms = candidates[3].contiguous();
    species = candidates[4].contiguous();
    const auto is = [](const at::Tensor &tensor, at::ScalarType type) {
      return tensor.dim() == 1 && tensor.scalar_type() == type;
    };
    TORCH_CHECK(is(offsets, at::kLong) && is(atoms, at::kInt) && is(nodes, at::kInt) &&
                    is(node_atoms, at::kInt) && is(species, at::kLong) &&
                    atoms.sym_sizes() == nodes.sym_sizes() &&
                    node_atoms.sym_sizes() == species.sym_sizes(),
                NAME, ": expected int64 offsets and species, int32 atoms, nodes and node_atoms");
    TORCH_CHECK(positions.dim() == 2 && positions.scalar_type() == at::kDouble &&
                    shortest.dim() == 2 && shortest.scalar_type() == at::kDouble,
                NAME, ": expected float64 positions (atoms, 3) and shortest distances (S, S)");
    check_device(NAME, {positions, offsets, atoms, nodes, node_atoms, species, shortest});
  }

  CandidateEdges pointers() const
  {
    const bool is_watching = shortest.size(0) > 0;
    return {positions.const_data_ptr<double>(),
            offsets.const_data_ptr<int64_t>(),
            atoms.const_data_ptr<int32_t>(),
            nodes.const_data_ptr<int32_t>(),
            node_atoms.const_data_ptr<int32_t>(),
            species.const_data_ptr<int64_t>(),
            is_watching ? shortest.const_data_ptr<double>() : nullptr,
            offsets.size(0) - 1,
            shortest.size(0),
            r_cut};
  }
};

/// Results of edges_within: edge_index (2, M), edge_vectors (M, 3), offsets (num_local+1), of which
/// offsets[num_local] edges are filled, and closest (1).
using EdgeTensors = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

inline EdgeTensors empty_edges(const CandidateOperands &x)
{
  const c10::SymInt most = x.atoms.sym_size(0);
  return {at::empty_symint({2, most}, x.offsets.options()),
          at::empty_symint({most, 3}, x.positions.options()), at::empty_like(x.offsets),
          at::empty_symint({1}, x.positions.options())};
}

inline FoundEdges pointers(const EdgeTensors &edges)
{
  const auto &[index, vectors, offsets, closest] = edges;
  auto *centers = index.data_ptr<int64_t>();
  return {offsets.data_ptr<int64_t>(), centers, centers + index.size(1), vectors.data_ptr<double>(),
          closest.data_ptr<double>()};
}

/// Operands of edge_sums and edge_virials on any device, contiguous and of shapes that fit.
struct GradientOperands {
  at::Tensor gradients, vectors, neighbors, offsets;

  GradientOperands(const char *name, const at::Tensor &gradients, const at::Tensor &vectors,
                   const at::Tensor &neighbors, const at::Tensor &offsets)
      : gradients(gradients.contiguous())
      , vectors(vectors.contiguous())
      , neighbors(neighbors.contiguous())
      , offsets(offsets.contiguous())
  {
    TORCH_CHECK(gradients.dim() == 2 && gradients.scalar_type() == at::kDouble &&
                    vectors.scalar_type() == at::kDouble &&
                    gradients.sym_sizes() == vectors.sym_sizes(),
                name, ": expected float64 gradients and vectors (E, 3)");
    TORCH_CHECK(neighbors.dim() == 1 && neighbors.scalar_type() == at::kLong &&
                    neighbors.sym_size(0) == vectors.sym_size(0) && offsets.dim() == 1 &&
                    offsets.scalar_type() == at::kLong,
                name, ": expected int64 neighbors (E) and offsets (num_local+1)");
    check_device(name, {gradients, vectors, neighbors, offsets});
  }

  EdgeGradients pointers() const
  {
    return {gradients.const_data_ptr<double>(), vectors.const_data_ptr<double>(),
            neighbors.const_data_ptr<int64_t>(), offsets.const_data_ptr<int64_t>(),
            offsets.size(0) - 1};
  }
};

}    // namespace ictp

#endif
