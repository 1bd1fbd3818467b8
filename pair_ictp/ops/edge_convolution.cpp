// SPDX-License-Identifier: MIT
#include "ops/edge_kernels.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <array>
#include <type_traits>
#include <vector>

// The edge convolution and its derivatives on the CPU. It is linear in features h, harmonics Y and
// radial weights R, so <G, out(h, Y, R)> is linear in all four and two kernels are enough for
// derivatives of any order: those of the gradients are sums of the same two with one operand
// replaced.

namespace ictp {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

const EdgeKernels &kernels()
{
  static const EdgeKernels &chosen = [&]() -> const EdgeKernels & {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
      return edge_kernels_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
      return edge_kernels_avx2;
#endif
    return edge_kernels_baseline;
  }();
  return chosen;
}

/// The tables of one convolution, unpacked from tensors: paths (P, 6), terms (nnz, 2), values.
struct Table {
  std::vector<EdgePath> paths;
  std::vector<EdgeTerm> terms;
  EdgeTable view{};

  Table(const Tensor &path_rows, const Tensor &term_rows, const Tensor &values, int64_t in_size,
        int64_t harmonics_size, int64_t num_channels)
  {
    const auto row = path_rows.accessor<int64_t, 2>();
    for (int64_t p = 0; p < path_rows.size(0); ++p) {
      paths.push_back({row[p][0], row[p][1], row[p][2], row[p][3], row[p][4], row[p][5]});
      view.matrix_size += row[p][1] * row[p][2];
      view.out_size += row[p][2];
    }
    const auto term = term_rows.accessor<int64_t, 2>();
    const auto value = values.accessor<double, 1>();
    for (int64_t k = 0; k < term_rows.size(0); ++k)
      terms.push_back({term[k][0], term[k][1], value[k]});
    view.paths = paths.data();
    view.num_paths = static_cast<int64_t>(paths.size());
    view.terms = terms.data();
    view.num_terms = static_cast<int64_t>(terms.size());
    view.num_channels = num_channels;
    view.in_size = in_size;
    view.harmonics_size = harmonics_size;
  }
};

/// What does not take part in derivatives.
struct Indices {
  Tensor neighbors, offsets, paths, terms, values;
};

template <typename T>
const T *pointer(const Tensor &tensor)
{
  return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
}

template <typename T>
T *writable(const Tensor &tensor)
{
  return tensor.defined() ? tensor.data_ptr<T>() : nullptr;
}

/// Centers per task: enough work for a thread, few enough to balance.
constexpr int64_t GRAIN = 16;

template <typename T>
void run_forward(const Table &table, const Indices &at_, const EdgeForward<T> &data)
{
  const int64_t *neighbors = pointer<int64_t>(at_.neighbors);
  const int64_t *offsets = pointer<int64_t>(at_.offsets);
  at::parallel_for(0, at_.offsets.size(0) - 1, GRAIN, [&](int64_t begin, int64_t end) {
    std::vector<T> scratch(table.view.matrix_size);
    for (int64_t center = begin; center < end; ++center) {
      const int64_t first = offsets[center], last = offsets[center + 1];
      if constexpr (std::is_same_v<T, float>)
        kernels().forward_float(table.view, data, center, neighbors, first, last, scratch.data());
      else
        kernels().forward_double(table.view, data, center, neighbors, first, last, scratch.data());
    }
  });
}

template <typename T>
void backward_edge(const Table &table, const EdgeBackward<T> &data, int64_t edge, int64_t center,
                   int64_t neighbor, T *scratch)
{
  if constexpr (std::is_same_v<T, float>)
    kernels().backward_float(table.view, data, edge, center, neighbor, scratch);
  else
    kernels().backward_double(table.view, data, edge, center, neighbor, scratch);
}

/// Edges ordered by neighbor, for threads that each own some neighbors: position, edge and center.
struct ByNeighbor {
  std::vector<int64_t> offsets, edges, centers;

  ByNeighbor(const int64_t *neighbors, const int64_t *offsets_in, int64_t num_centers,
             int64_t num_nodes)
      : offsets(num_nodes + 1, 0)
      , edges(offsets_in[num_centers])
      , centers(offsets_in[num_centers])
  {
    for (size_t edge = 0; edge < edges.size(); ++edge) ++offsets[neighbors[edge] + 1];
    for (int64_t node = 0; node < num_nodes; ++node) offsets[node + 1] += offsets[node];
    std::vector<int64_t> next(offsets.begin(), offsets.end() - 1);
    for (int64_t center = 0; center < num_centers; ++center)
      for (int64_t edge = offsets_in[center]; edge < offsets_in[center + 1]; ++edge) {
        const int64_t place = next[neighbors[edge]]++;
        edges[place] = edge;
        centers[place] = center;
      }
  }
};

template <typename T>
void run_backward(const Table &table, const Indices &at_, EdgeBackward<T> data, int64_t num_nodes)
{
  const int64_t *neighbors = pointer<int64_t>(at_.neighbors);
  const int64_t *offsets = pointer<int64_t>(at_.offsets);
  const int64_t num_centers = at_.offsets.size(0) - 1;
  const size_t scratch_size = 2 * table.view.matrix_size;
  const bool alone = at::get_num_threads() == 1 || at::in_parallel_region();

  // Several threads must not add to one neighbor: its gradient gets a pass of its own.
  EdgeBackward<T> of_edges = data;
  if (!alone)
    of_edges.grad_features = nullptr;
  if (of_edges.grad_features || of_edges.grad_harmonics || of_edges.grad_radial)
    at::parallel_for(0, num_centers, GRAIN, [&](int64_t begin, int64_t end) {
      std::vector<T> scratch(scratch_size);
      for (int64_t center = begin; center < end; ++center)
        for (int64_t edge = offsets[center]; edge < offsets[center + 1]; ++edge)
          backward_edge(table, of_edges, edge, center, neighbors[edge], scratch.data());
    });
  if (alone || !data.grad_features)
    return;
  data.grad_harmonics = data.grad_radial = nullptr;
  const ByNeighbor order(neighbors, offsets, num_centers, num_nodes);
  at::parallel_for(0, num_nodes, GRAIN, [&](int64_t begin, int64_t end) {
    std::vector<T> scratch(scratch_size);
    for (int64_t node = begin; node < end; ++node)
      for (int64_t k = order.offsets[node]; k < order.offsets[node + 1]; ++k)
        backward_edge(table, data, order.edges[k], order.centers[k], node, scratch.data());
  });
}

Tensor forward_kernel(const Tensor &features, const Tensor &harmonics, const Tensor &radial,
                      const Indices &at_)
{
  const Table table(at_.paths, at_.terms, at_.values, features.size(1), harmonics.size(1),
                    features.size(2));
  const Tensor h = features.contiguous(), y = harmonics.contiguous(), r = radial.contiguous();
  const Tensor out =
      at::empty({at_.offsets.size(0) - 1, table.view.out_size, features.size(2)}, h.options());
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    run_forward<T>(table, at_, {pointer<T>(h), pointer<T>(y), pointer<T>(r), writable<T>(out)});
  };
  h.scalar_type() == at::kFloat ? run(0.0F) : run(0.0);
  return out;
}

using Wanted = std::array<bool, 3>;    // gradients of features, harmonics, radial weights

variable_list backward_kernel(const Tensor &grad_out, const Tensor &features,
                              const Tensor &harmonics, const Tensor &radial, const Indices &at_,
                              const Wanted &wanted)
{
  const Table table(at_.paths, at_.terms, at_.values, features.size(1), harmonics.size(1),
                    features.size(2));
  const Tensor g = grad_out.contiguous(), h = features.contiguous(), y = harmonics.contiguous(),
               r = radial.contiguous();
  variable_list grads = {wanted[0] ? at::zeros_like(h) : Tensor(),
                         wanted[1] ? at::empty_like(y) : Tensor(),
                         wanted[2] ? at::empty_like(r) : Tensor()};
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    run_backward<T>(table, at_,
                    {pointer<T>(g), pointer<T>(h), pointer<T>(y), pointer<T>(r),
                     writable<T>(grads[0]), writable<T>(grads[1]), writable<T>(grads[2])},
                    h.size(0));
  };
  h.scalar_type() == at::kFloat ? run(0.0F) : run(0.0);
  return grads;
}

Indices saved_indices(const variable_list &saved, size_t first)
{
  return {saved[first], saved[first + 1], saved[first + 2], saved[first + 3], saved[first + 4]};
}

Tensor convolve(const Tensor &h, const Tensor &y, const Tensor &r, const Indices &at_);
variable_list convolve_backward(const Tensor &g, const Tensor &h, const Tensor &y, const Tensor &r,
                                const Indices &at_, const Wanted &wanted);

Tensor sum_of_defined(const Tensor &a, const Tensor &b)
{
  return !a.defined() ? b : !b.defined() ? a : a + b;
}

struct Convolution : public torch::autograd::Function<Convolution> {
  static Tensor forward(AutogradContext *context, const Tensor &h, const Tensor &y, const Tensor &r,
                        const Tensor &neighbors, const Tensor &offsets, const Tensor &paths,
                        const Tensor &terms, const Tensor &values)
  {
    context->save_for_backward({h, y, r, neighbors, offsets, paths, terms, values});
    return forward_kernel(h, y, r, {neighbors, offsets, paths, terms, values});
  }

  static variable_list backward(AutogradContext *context, variable_list grads)
  {
    const variable_list saved = context->get_saved_variables();
    const Wanted wanted = {context->needs_input_grad(0), context->needs_input_grad(1),
                           context->needs_input_grad(2)};
    variable_list found =
        convolve_backward(grads[0], saved[0], saved[1], saved[2], saved_indices(saved, 3), wanted);
    found.resize(8);
    return found;
  }
};

struct ConvolutionBackward : public torch::autograd::Function<ConvolutionBackward> {
  static variable_list forward(AutogradContext *context, const Tensor &g, const Tensor &h,
                               const Tensor &y, const Tensor &r, const Tensor &neighbors,
                               const Tensor &offsets, const Tensor &paths, const Tensor &terms,
                               const Tensor &values, int64_t mask)
  {
    context->save_for_backward({g, h, y, r, neighbors, offsets, paths, terms, values});
    context->set_materialize_grads(false);
    const Wanted wanted = {(mask & 1) != 0, (mask & 2) != 0, (mask & 4) != 0};
    variable_list grads =
        backward_kernel(g, h, y, r, {neighbors, offsets, paths, terms, values}, wanted);
    for (Tensor &grad : grads)
      if (!grad.defined())
        grad = at::empty({0}, h.options());    // stands for a gradient nobody wanted
    return grads;
  }

  /// With S = <vh, gh> + <vy, gy> + <vr, gr>: derivatives of F(g, vh, y, r) + F(g, h, vy, r) +
  /// F(g, h, y, vr).
  static variable_list backward(AutogradContext *context, variable_list v)
  {
    const variable_list saved = context->get_saved_variables();
    const Tensor &g = saved[0], &h = saved[1], &y = saved[2], &r = saved[3];
    const Indices at_ = saved_indices(saved, 4);
    const bool want_g = context->needs_input_grad(0), want_h = context->needs_input_grad(1),
               want_y = context->needs_input_grad(2), want_r = context->needs_input_grad(3);
    variable_list found(10);
    const auto collect = [&](const Tensor &x1, const Tensor &x2, const Tensor &x3,
                             const Wanted &wanted) {
      if (want_g)
        found[0] = sum_of_defined(found[0], convolve(x1, x2, x3, at_));
      if (!wanted[0] && !wanted[1] && !wanted[2])
        return;
      const variable_list part = convolve_backward(g, x1, x2, x3, at_, wanted);
      for (size_t k = 0; k < 3; ++k)
        if (wanted[k])
          found[k + 1] = sum_of_defined(found[k + 1], part[k]);
    };
    if (v[0].defined())
      collect(v[0], y, r, {false, want_y, want_r});
    if (v[1].defined())
      collect(h, v[1], r, {want_h, false, want_r});
    if (v[2].defined())
      collect(h, y, v[2], {want_h, want_y, false});
    return found;
  }
};

Tensor convolve(const Tensor &h, const Tensor &y, const Tensor &r, const Indices &at_)
{
  return Convolution::apply(h, y, r, at_.neighbors, at_.offsets, at_.paths, at_.terms, at_.values);
}

variable_list convolve_backward(const Tensor &g, const Tensor &h, const Tensor &y, const Tensor &r,
                                const Indices &at_, const Wanted &wanted)
{
  const int64_t mask = wanted[0] + 2 * wanted[1] + 4 * wanted[2];
  variable_list grads = ConvolutionBackward::apply(g, h, y, r, at_.neighbors, at_.offsets,
                                                   at_.paths, at_.terms, at_.values, mask);
  for (size_t k = 0; k < 3; ++k)
    if (!wanted[k])
      grads[k] = Tensor();
  return grads;
}

void check(const Tensor &features, const Tensor &harmonics, const Tensor &radial,
           const Tensor &neighbors, const Tensor &offsets, const Tensor &paths)
{
  TORCH_CHECK(features.dim() == 3 && harmonics.dim() == 2 && radial.dim() == 2,
              "ictp::edge_convolution: expected features (nodes, D, C), harmonics (E, K) and "
              "radial weights (E, P*C), got ",
              features.sizes(), ", ", harmonics.sizes(), ", ", radial.sizes());
  const int64_t num_edges = neighbors.size(0);
  TORCH_CHECK(harmonics.size(0) == num_edges && radial.size(0) == num_edges &&
                  radial.size(1) == paths.size(0) * features.size(2),
              "ictp::edge_convolution: ", num_edges, " edges, but harmonics ", harmonics.sizes(),
              " and radial weights ", radial.sizes());
  TORCH_CHECK(features.scalar_type() == harmonics.scalar_type() &&
                  features.scalar_type() == radial.scalar_type() &&
                  (features.scalar_type() == at::kFloat || features.scalar_type() == at::kDouble),
              "ictp::edge_convolution: expected one floating type, float32 or float64");
  for (const Tensor &tensor : {features, harmonics, radial, neighbors, offsets})
    TORCH_CHECK(tensor.is_cpu(), "ictp::edge_convolution: expected CPU, got ", tensor.device());
  TORCH_CHECK(offsets.size(0) > 0 && offsets.data_ptr<int64_t>()[offsets.size(0) - 1] == num_edges,
              "ictp::edge_convolution: expected offsets (centers+1) that end with ", num_edges);
}

Tensor edge_convolution(const Tensor &features, const Tensor &harmonics, const Tensor &radial,
                        const Tensor &neighbors, const Tensor &offsets, const Tensor &paths,
                        const Tensor &terms, const Tensor &values)
{
  const Indices at_{neighbors.contiguous(), offsets.contiguous(), paths, terms, values};
  check(features, harmonics, radial, at_.neighbors, at_.offsets, paths);
  return convolve(features, harmonics, radial, at_);
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  library.def(
      "edge_convolution(Tensor features, Tensor harmonics, Tensor radial, Tensor neighbors, "
      "Tensor offsets, Tensor paths, Tensor terms, Tensor values) -> Tensor");
  library.impl("edge_convolution", torch::dispatch(c10::DispatchKey::CompositeImplicitAutograd,
                                                   TORCH_FN(ictp::edge_convolution)));
}
