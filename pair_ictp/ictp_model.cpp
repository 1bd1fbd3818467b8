// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_model_impl.h"
#include "ictp_timer.h"
#include "ops/operator.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/cuda.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <tuple>

namespace ictp {

using at::Tensor;
using Sums = std::tuple<Tensor, Tensor>(const Tensor &, const Tensor &, const Tensor &,
                                        const Tensor &, c10::SymInt);
using Virials = Tensor(const Tensor &, const Tensor &, const Tensor &, const Tensor &, c10::SymInt,
                       double);
static const Operator<Sums> EDGE_SUMS("ictp::edge_sums");
static const Operator<Virials> EDGE_VIRIALS("ictp::edge_virials");

// PyTorch appends stack traces, its interpreter puts them in front
std::string reason(const std::exception &error)
{
  std::string text = error.what();
  if (text.find("TorchScript interpreter") != std::string::npos) {
    static const std::string MARK = "\nRuntimeError: ";
    const size_t mark = text.rfind(MARK);
    text.erase(text.find_last_not_of(" \n") + 1);
    text.erase(0, mark == std::string::npos ? text.rfind('\n') + 1 : mark + MARK.size());
  }
  text.erase(0, text.find_first_not_of(" \n"));
  text.resize(std::min(text.find('\n'), text.size()));
  // of a damaged file it may quote anything
  std::ranges::replace_if(
      text,
      [](char c) {
        return c < ' ' || c > '~';
      },
      '?');
  return text;
}

bool is_out_of_memory(const std::exception &error)
{
  const std::string text = reason(error);
  return std::ranges::any_of(std::array{"out of memory", "can't allocate memory", "std::bad_alloc"},
                             [&](const char *sign) {
                               return text.find(sign) != std::string::npos;
                             });
}

/// Grades go to `grades`.
Tensor Model::Impl::energies(int member, bool graded, std::vector<c10::IValue> graph)
{
  grades = at::empty({0}, at::dtype(at::kDouble));
  graded = graded && has_grades && (member == 0 || num_models == 1);
  if (num_models == 1)
    member = graded ? 0 : MEAN;    // the same
  if (member == MEAN)
    return module.forward(std::move(graph)).toTensor();
  graph.insert(graph.begin(), {c10::IValue(member), c10::IValue(graded)});
  const auto found = module.get_method("member")(std::move(graph)).toTuple();
  grades = to_host(found->elements()[1].toTensor().to(at::kDouble));
  return found->elements()[0].toTensor();
}

void Model::Impl::evaluate(const GraphTensors &graph, ExchangeHandler *handler, int member,
                           bool graded)
{
  // several processes, several GPUs: what names none goes to the current one
  const c10::DeviceGuard guard(device);
  // Edge counts change with every step: an executor that specialises on shapes recompiles for ever.
  torch::jit::GraphOptimizerEnabledGuard no_specialisation(false);
  ExchangeScope scope(handler);
  Tensor vectors, energies;
  {
    const ScopedTimer timer(timings.forward, &timings.exchange);
    vectors = graph.edge_vectors.detach().requires_grad_(true);
    energies =
        this->energies(member, graded, {graph.species, graph.edge_index, vectors, graph.num_local});
    TORCH_CHECK(energies.dim() == 1 && energies.size(0) == graph.num_local,
                "expected node energies (", graph.num_local, "), got ", energies.sizes());
    if (device.is_cuda())    // or what it has not yet computed counts as backward
      torch::cuda::synchronize(device.index());
  }
  const ScopedTimer timer(timings.backward, &timings.exchange);
  Tensor gradients;
  if (energies.requires_grad())
    gradients = torch::autograd::grad({energies.sum()}, {vectors}, {}, false, false, true)[0];
  if (!gradients.defined())
    gradients = at::zeros_like(vectors);
  if (auto *messages = dynamic_cast<MessageHandler *>(handler))
    messages->finish_backward();
  const at::Device place = EDGE_SUMS.nearest(device);
  node_energies = energies.detach().to(place, at::kDouble);
  edge_gradients = gradients.to(place, at::kDouble);
  edge_vectors = graph.edge_vectors.to(place);
  neighbors = graph.edge_index[1].to(place);
  offsets = graph.offsets.to(place);
  num_nodes = graph.species.size(0);
  const auto [sums, virial] =
      EDGE_SUMS.below_autograd(edge_gradients, edge_vectors, neighbors, offsets, num_nodes);
  forces = to_host(sums);
  totals = to_host(at::cat({virial.flatten(), node_energies.sum().view(1)}));
}

/// The first atoms with their edges and their share of the ghosts. Neighbors are others: what an
/// evaluation needs of memory does not depend on them.
static GraphTensors first_atoms(const GraphTensors &graph, int64_t num_local)
{
  const int64_t num_ghosts = graph.species.size(0) - graph.num_local;
  const int64_t num_nodes = num_local + num_ghosts * num_local / graph.num_local;
  const Tensor offsets = graph.offsets.narrow(0, 0, num_local + 1);
  const auto num_edges = offsets[num_local].item<int64_t>();
  const Tensor index = graph.edge_index.narrow(1, 0, num_edges);
  return {graph.species.narrow(0, 0, num_nodes),
          at::stack({index[0], index[1].remainder(num_nodes)}),
          graph.edge_vectors.narrow(0, 0, num_edges), offsets, num_local};
}

/// How many of the atoms fit into the memory there is, to a sixteenth. Found by trying: what an
/// atom takes depends on the model, on its edges and on what the operators of its device keep.
int64_t Model::Impl::num_atoms_that_fit(const GraphTensors &graph, int member, bool graded)
{
  int64_t fitting = 0, too_many = graph.num_local;
  while (too_many - fitting > std::max<int64_t>(1, too_many / 16)) {
    const int64_t num_local = (fitting + too_many) / 2;
    node_energies = edge_gradients = edge_vectors = neighbors = offsets = Tensor();
    try {
      MessageRecorder recorder;
      evaluate(first_atoms(graph, num_local), &recorder, member, graded);
      fitting = num_local;
    } catch (const std::exception &) {
      too_many = num_local;
    }
  }
  return fitting;
}

Model::~Model() = default;

const std::vector<std::string> &Model::elements() const
{
  return impl->elements;
}

double Model::r_cut() const
{
  return impl->r_cut;
}

int Model::num_layers() const
{
  return impl->num_layers;
}

int Model::num_models() const
{
  return impl->num_models;
}

bool Model::has_grades() const
{
  return impl->has_grades;
}

const std::vector<double> &Model::masses() const
{
  return impl->masses;
}

const std::vector<double> &Model::shortest_distances() const
{
  return impl->shortest_distances;
}

const std::string &Model::dtype() const
{
  return impl->dtype;
}

const std::string &Model::device() const
{
  return impl->device_name;
}

ModelTimings &Model::timings()
{
  return impl->timings;
}

int Model::num_gpus()
{
  return static_cast<int>(torch::cuda::device_count());
}

void Model::set_num_threads(int num_threads)
{
  at::set_num_threads(num_threads);
}

/// The failure that others learn of is the first one.
static void finish_after_failure(MessageHandler &handler, const std::string &failure)
{
  try {
    handler.finish_after_failure();
  } catch (const LostProcess &) {
    throw LostProcess(failure);
  }
}

void Model::sit_out(Halo *halo, int member)
{
  MessageHandler handler(halo, impl->messages.at(member + 1), impl->timings.exchange);
  handler.finish_after_failure();
}

Evaluation Model::evaluate(const DeviceGraph &graph, Halo *halo, int member, bool graded)
{
  MessageHandler handler(halo, impl->messages.at(member + 1), impl->timings.exchange);
  const GraphTensors &tensors = graph.tensors().graph;
  std::string failure;
  bool no_memory = false;
  try {
    impl->evaluate(tensors, halo ? &handler : nullptr, member, graded);
  } catch (const std::exception &error) {
    no_memory = is_out_of_memory(error);
    failure = "model '" + impl->path + "': " +
              (no_memory ? "not enough memory on " + impl->device_name + " for the " +
                               std::to_string(tensors.num_local) + " atoms of this process"
                         : reason(error));
  }
  if (!failure.empty()) {
    if (halo)
      finish_after_failure(handler, failure);
    if (no_memory)
      failure += ": about " + std::to_string(impl->num_atoms_that_fit(tensors, member, graded)) +
                 " fit: take more " + (impl->device.is_cuda() ? "GPUs" : "machines") +
                 " or a smaller model";
    throw std::runtime_error(failure);
  }
  Evaluation result;
  const auto *totals = impl->totals.const_data_ptr<double>();
  std::copy_n(totals, result.virial.size(), result.virial.begin());
  result.energy = totals[result.virial.size()];
  result.forces = impl->forces.const_data_ptr<double>();
  if (impl->grades.size(0) == impl->node_energies.size(0))
    result.grades = impl->grades.const_data_ptr<double>();
  return result;
}

template <typename Make>
const double *Model::Impl::fetch(Tensor &place, Make make) const
{
  const c10::DeviceGuard guard(device);
  try {
    place = to_host(make());
  } catch (const std::exception &error) {
    throw std::runtime_error("model '" + path + "': " +
                             (is_out_of_memory(error)
                                  ? "not enough memory on " + device_name +
                                        " for energies or virials of atoms: take more GPUs"
                                  : reason(error)));
  }
  return place.const_data_ptr<double>();
}

const double *Model::node_energies()
{
  return impl->fetch(impl->fetched_energies, [this] {
    return impl->node_energies;
  });
}

const double *Model::edge_gradients()
{
  return impl->fetch(impl->fetched_gradients, [this] {
    return impl->edge_gradients;
  });
}

const double *Model::node_virials(double center_share)
{
  return impl->fetch(impl->fetched_virials, [this, center_share] {
    return EDGE_VIRIALS.below_autograd(impl->edge_gradients, impl->edge_vectors, impl->neighbors,
                                       impl->offsets, impl->num_nodes, center_share);
  });
}

}    // namespace ictp
