// SPDX-License-Identifier: MIT
#include "ops/edge_problem.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <array>

// The edge convolution of given harmonics and radial weights, on the CPU: what training uses. It is
// linear in features h, harmonics Y and radial weights R, so <G, out(h, Y, R)> is linear in all
// four and two kernels are enough for derivatives of any order: those of the gradients are sums of
// the same two with one operand replaced.

namespace ictp {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Features (nodes, D, C), harmonics (E, K), radial weights (E, P*C).
using Operands = std::array<Tensor, 3>;
using Wanted = std::array<bool, 3>;

template <typename T>
void set_operands(EdgeProblem<GivenEdges<T>> &problem, const Operands &x)
{
  problem.data.features = x[0].const_data_ptr<T>();
  problem.data.harmonics = x[1].const_data_ptr<T>();
  problem.data.radial = x[2].const_data_ptr<T>();
}

Operands contiguous(const Operands &x)
{
  return {x[0].contiguous(), x[1].contiguous(), x[2].contiguous()};
}

variable_list contiguous(variable_list tensors)
{
  for (Tensor &tensor : tensors) tensor = tensor.contiguous();
  return tensors;
}

variable_list forward_kernel(const Operands &operands, const EdgeIndices &edges)
{
  const Operands x = contiguous(operands);
  variable_list results;
  with_type_of(x[0], [&](auto zero) {
    EdgeProblem<GivenEdges<decltype(zero)>> problem(edges, x[1].size(1) + 1, x[0].size(1),
                                                    x[0].size(2));
    set_operands(problem, x);
    results = problem.forward(x[0].options());
  });
  return results;
}

variable_list backward_kernel(const variable_list &grads, const Operands &operands,
                              const EdgeIndices &edges, const Wanted &wanted)
{
  const Operands x = contiguous(operands);
  const variable_list g = contiguous(grads);
  variable_list found(3);
  for (size_t k = 0; k < 3; ++k)
    if (wanted[k])
      found[k] = at::empty_like(x[k]);
  with_type_of(x[0], [&](auto zero) {
    using T = decltype(zero);
    EdgeProblem<GivenEdges<T>> problem(edges, x[1].size(1) + 1, x[0].size(1), x[0].size(2));
    set_operands(problem, x);
    if (wanted[1])
      problem.data.grad_harmonics = found[1].data_ptr<T>();
    if (wanted[2])
      problem.data.grad_radial = found[2].data_ptr<T>();
    problem.backward(g, found[0]);
  });
  return found;
}

variable_list convolve(const Operands &x, const EdgeIndices &edges);
variable_list convolve_backward(const variable_list &g, const Operands &x, const EdgeIndices &edges,
                                const Wanted &wanted);

void add_to(Tensor &sum, const Tensor &term)
{
  sum = sum.defined() ? sum + term : term;
}

void save(AutogradContext *context, const variable_list &g, const Operands &x,
          const EdgeIndices &edges)
{
  variable_list tensors(x.begin(), x.end());
  const auto &[neighbors, offsets, paths, polynomial] = edges;
  for (const Tensor &tensor :
       {neighbors, offsets, paths, polynomial.offsets, polynomial.terms, polynomial.values})
    tensors.push_back(tensor);
  tensors.insert(tensors.end(), g.begin(), g.end());
  context->save_for_backward(tensors);
}

/// What `save` saved.
struct Saved {
  Operands x;
  EdgeIndices edges;
  variable_list g;

  explicit Saved(AutogradContext *context)
  {
    const variable_list s = context->get_saved_variables();
    x = {s[0], s[1], s[2]};
    edges = {s[3], s[4], s[5], {s[6], s[7], s[8]}};
    g.assign(s.begin() + 9, s.end());
  }
};

struct Convolution : public torch::autograd::Function<Convolution> {
  static variable_list forward(AutogradContext *context, const Tensor &h, const Tensor &y,
                               const Tensor &r, const EdgeIndices &edges)
  {
    save(context, {}, {h, y, r}, edges);
    return forward_kernel({h, y, r}, edges);
  }

  static variable_list backward(AutogradContext *context, const variable_list &grads)
  {
    const Saved saved(context);
    const Wanted wanted = {context->needs_input_grad(0), context->needs_input_grad(1),
                           context->needs_input_grad(2)};
    variable_list found = convolve_backward(grads, saved.x, saved.edges, wanted);
    found.resize(4);
    return found;
  }
};

struct ConvolutionBackward : public torch::autograd::Function<ConvolutionBackward> {
  static variable_list forward(AutogradContext *context, at::TensorList g, const Tensor &h,
                               const Tensor &y, const Tensor &r, const EdgeIndices &edges,
                               const Wanted &wanted)
  {
    save(context, g.vec(), {h, y, r}, edges);
    context->set_materialize_grads(false);
    variable_list found = backward_kernel(g.vec(), {h, y, r}, edges, wanted);
    for (Tensor &grad : found)
      if (!grad.defined())
        grad = at::empty({0}, h.options());    // stands for a gradient nobody wanted
    return found;
  }

  /// With S = <vh, gh> + <vy, gy> + <vr, gr>: derivatives of F(g, vh, y, r) + F(g, h, vy, r) +
  /// F(g, h, y, vr).
  static variable_list backward(AutogradContext *context, const variable_list &v)
  {
    const Saved saved(context);
    const size_t num_g = saved.g.size();
    bool want_g = false;
    for (size_t k = 0; k < num_g; ++k) want_g = want_g || context->needs_input_grad(k);
    variable_list found(num_g + 5);
    for (size_t moved = 0; moved < 3; ++moved) {
      if (!v[moved].defined())
        continue;
      Operands x = saved.x;
      x[moved] = v[moved];
      Wanted wanted;
      for (size_t k = 0; k < 3; ++k) wanted[k] = k != moved && context->needs_input_grad(num_g + k);
      if (want_g) {
        const variable_list part = convolve(x, saved.edges);
        for (size_t k = 0; k < num_g; ++k) add_to(found[k], part[k]);
      }
      if (!wanted[0] && !wanted[1] && !wanted[2])
        continue;
      const variable_list part = convolve_backward(saved.g, x, saved.edges, wanted);
      for (size_t k = 0; k < 3; ++k)
        if (wanted[k])
          add_to(found[num_g + k], part[k]);
    }
    return found;
  }
};

variable_list convolve(const Operands &x, const EdgeIndices &edges)
{
  return Convolution::apply(x[0], x[1], x[2], edges);
}

variable_list convolve_backward(const variable_list &g, const Operands &x, const EdgeIndices &edges,
                                const Wanted &wanted)
{
  variable_list grads =
      ConvolutionBackward::apply(at::TensorList(g), x[0], x[1], x[2], edges, wanted);
  for (size_t k = 0; k < 3; ++k)
    if (!wanted[k])
      grads[k] = Tensor();
  return grads;
}

void check(const Tensor &features, const Tensor &harmonics, const Tensor &radial,
           const EdgeIndices &edges)
{
  TORCH_CHECK(features.dim() == 3 && harmonics.dim() == 2 && radial.dim() == 2,
              "ictp::edge_convolution: expected features (nodes, D, C), harmonics (E, K) and "
              "radial weights (E, P*C), got ",
              features.sizes(), ", ", harmonics.sizes(), ", ", radial.sizes());
  const int64_t num_edges = edges.neighbors.size(0);
  TORCH_CHECK(harmonics.size(0) == num_edges && radial.size(0) == num_edges &&
                  radial.size(1) == edges.paths.size(0) * features.size(2),
              "ictp::edge_convolution: ", num_edges, " edges, but harmonics ", harmonics.sizes(),
              " and radial weights ", radial.sizes());
  TORCH_CHECK(features.scalar_type() == harmonics.scalar_type() &&
                  features.scalar_type() == radial.scalar_type() &&
                  (features.scalar_type() == at::kFloat || features.scalar_type() == at::kDouble),
              "ictp::edge_convolution: expected one floating type, float32 or float64");
  for (const Tensor &tensor : {features, harmonics, radial, edges.neighbors, edges.offsets})
    TORCH_CHECK(tensor.is_cpu(), "ictp::edge_convolution: expected CPU, got ", tensor.device());
  check_indices("ictp::edge_convolution", edges, features.size(0));
}

variable_list edge_convolution(const Tensor &features, const Tensor &harmonics,
                               const Tensor &radial, const Tensor &neighbors, const Tensor &offsets,
                               const Tensor &paths, const Tensor &polynomial_offsets,
                               const Tensor &terms, const Tensor &values)
{
  const EdgeIndices edges{
      neighbors.contiguous(), offsets.contiguous(), paths, {polynomial_offsets, terms, values}};
  check(features, harmonics, radial, edges);
  const int64_t num_channels = features.size(2);
  const int64_t missing = missing_channels(features, num_channels);
  if (missing == 0)
    return convolve({features, harmonics, radial}, edges);
  const Tensor wider = radial.view({radial.size(0), paths.size(0), num_channels});
  variable_list results = convolve({at::constant_pad_nd(features, {0, missing}), harmonics,
                                    at::constant_pad_nd(wider, {0, missing}).flatten(1)},
                                   edges);
  for (Tensor &result : results) result = without_missing(result, num_channels, missing);
  return results;
}

}    // namespace
}    // namespace ictp

TORCH_LIBRARY_FRAGMENT(ictp, library)
{
  library.def("edge_convolution(Tensor features, Tensor harmonics, Tensor radial, "
              "Tensor neighbors, Tensor offsets, Tensor paths, Tensor rows, Tensor terms, "
              "Tensor values) -> Tensor[]");
  library.impl("edge_convolution", torch::dispatch(c10::DispatchKey::CompositeImplicitAutograd,
                                                   TORCH_FN(ictp::edge_convolution)));
}
