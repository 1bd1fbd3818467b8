// SPDX-License-Identifier: MIT
#include "ops/graph_operands.h"
#include "ops/operands.h"

#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <utility>

// What lies between positions and a model, and between its gradients and forces, on the CPU.

namespace ictp {
namespace {

using at::Tensor;
using at::TensorList;

constexpr int64_t GRAIN = 256;    // centers per task

/// In one pass: an edge is written where the one before it ends.
void find_edges(const CandidateEdges &x, const FoundEdges &out)
{
  const double largest = x.r_cut * x.r_cut;
  double closest = std::numeric_limits<double>::infinity();
  int64_t edge = 0;
  out.offsets[0] = 0;
  for (int64_t center = 0; center < x.num_local; ++center) {
    const double *from = x.positions + 3 * static_cast<int64_t>(x.node_atoms[center]);
    const double *shortest = x.shortest ? x.shortest + x.num_species * x.species[center] : nullptr;
    for (int64_t k = x.offsets[center]; k < x.offsets[center + 1]; ++k) {
      const double *to = x.positions + 3 * static_cast<int64_t>(x.atoms[k]);
      const double dx = to[0] - from[0], dy = to[1] - from[1], dz = to[2] - from[2];
      const double squared = dx * dx + dy * dy + dz * dz;
      if (squared >= largest)    // what is not a number stays, and is reported with its energy
        continue;
      const int64_t neighbor = x.nodes[k];
      if (shortest) {
        const double limit = shortest[x.species[neighbor]];
        if (squared < closest * (limit * limit))
          closest = squared / (limit * limit);
      }
      out.centers[edge] = center;
      out.neighbors[edge] = neighbor;
      double *vector = out.vectors + 3 * edge;
      vector[0] = dx;
      vector[1] = dy;
      vector[2] = dz;
      ++edge;
    }
    out.offsets[center + 1] = edge;
  }
  *out.closest = closest;
}

EdgeTensors edges_cpu(const Tensor &positions, TensorList candidates, const Tensor &shortest,
                      double r_cut)
{
  const CandidateOperands x(positions, candidates, shortest, r_cut);
  const EdgeTensors found = empty_edges(x);
  find_edges(x.pointers(), pointers(found));
  return found;
}

EdgeTensors edges_meta(const Tensor &positions, TensorList candidates, const Tensor &shortest,
                       double r_cut)
{
  return empty_edges(CandidateOperands(positions, candidates, shortest, r_cut));
}

/// Calls body(center, neighbor, r, gradient) for the edges of some centers.
template <typename Body>
void each_edge(const EdgeGradients &x, int64_t begin, int64_t end, Body body)
{
  for (int64_t center = begin; center < end; ++center)
    for (int64_t edge = x.offsets[center]; edge < x.offsets[center + 1]; ++edge)
      body(center, x.neighbors[edge], x.vectors + 3 * edge, x.gradients + 3 * edge);
}

std::tuple<Tensor, Tensor> sums_cpu(const Tensor &gradients, const Tensor &vectors,
                                    const Tensor &neighbors, const Tensor &offsets,
                                    int64_t num_nodes)
{
  const GradientOperands operands("ictp::edge_sums", gradients, vectors, neighbors, offsets);
  const EdgeGradients x = operands.pointers();
  Tensor forces = at::empty({num_nodes, 3}, gradients.options());
  Tensor virial = at::empty({3, 3}, gradients.options());
  const ThreadSums<double> force_sums(forces), virial_sums(virial);
  at::parallel_for(0, x.num_local, GRAIN, [&](int64_t begin, int64_t end) {
    double *force = force_sums.of_this_thread();
    double w[9] = {};
    each_edge(x, begin, end,
              [&](int64_t center, int64_t neighbor, const double *r, const double *g) {
                for (int k = 0; k < 3; ++k) {
                  force[3 * center + k] += g[k];
                  force[3 * neighbor + k] -= g[k];
                }
                for (int k = 0; k < 9; ++k) w[k] -= r[k / 3] * g[k % 3];
              });
    double *sum = virial_sums.of_this_thread();
    for (int k = 0; k < 9; ++k) sum[k] += w[k];
  });
  force_sums.join();
  virial_sums.join();
  return {forces, virial};
}

std::tuple<Tensor, Tensor> sums_meta(const Tensor &gradients, const Tensor &vectors,
                                     const Tensor &neighbors, const Tensor &offsets,
                                     c10::SymInt num_nodes)
{
  const GradientOperands x("ictp::edge_sums", gradients, vectors, neighbors, offsets);
  return {at::empty_symint({std::move(num_nodes), 3}, gradients.options()),
          at::empty({3, 3}, gradients.options())};
}

Tensor virials_cpu(const Tensor &gradients, const Tensor &vectors, const Tensor &neighbors,
                   const Tensor &offsets, int64_t num_nodes, double center_share)
{
  const GradientOperands operands("ictp::edge_virials", gradients, vectors, neighbors, offsets);
  const EdgeGradients x = operands.pointers();
  Tensor virials = at::empty({num_nodes, 9}, gradients.options());
  const ThreadSums<double> sums(virials);
  at::parallel_for(0, x.num_local, GRAIN, [&](int64_t begin, int64_t end) {
    double *virial = sums.of_this_thread();
    each_edge(x, begin, end,
              [&](int64_t center, int64_t neighbor, const double *r, const double *g) {
                for (int k = 0; k < 9; ++k) {
                  const double w = -r[k / 3] * g[k % 3];
                  virial[9 * center + k] += center_share * w;
                  virial[9 * neighbor + k] += (1.0 - center_share) * w;
                }
              });
  });
  sums.join();
  return virials;
}

Tensor virials_meta(const Tensor &gradients, const Tensor &vectors, const Tensor &neighbors,
                    const Tensor &offsets, c10::SymInt num_nodes, double /*center_share*/)
{
  const GradientOperands x("ictp::edge_virials", gradients, vectors, neighbors, offsets);
  return at::empty_symint({std::move(num_nodes), 9}, gradients.options());
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  library.def("edges_within(Tensor positions, Tensor[] candidates, Tensor shortest, float r_cut) "
              "-> (Tensor, Tensor, Tensor, Tensor)");
  library.def("edge_sums(Tensor gradients, Tensor vectors, Tensor neighbors, Tensor offsets, "
              "SymInt num_nodes) -> (Tensor, Tensor)");
  library.def("edge_virials(Tensor gradients, Tensor vectors, Tensor neighbors, Tensor offsets, "
              "SymInt num_nodes, float center_share) -> Tensor");
}

TORCH_LIBRARY_IMPL(ictp, CPU, library)
{
  library.impl("edges_within", TORCH_FN(ictp::edges_cpu));
  library.impl("edge_sums", TORCH_FN(ictp::sums_cpu));
  library.impl("edge_virials", TORCH_FN(ictp::virials_cpu));
}

TORCH_LIBRARY_IMPL(ictp, Meta, library)
{
  library.impl("edges_within", TORCH_FN(ictp::edges_meta));
  library.impl("edge_sums", TORCH_FN(ictp::sums_meta));
  library.impl("edge_virials", TORCH_FN(ictp::virials_meta));
}
