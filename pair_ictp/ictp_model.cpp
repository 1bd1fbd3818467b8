// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_model.h"

#include "ops/exchange.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/cuda.h>

#include <chrono>
#include <cstring>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace ictp {

double now()
{
  using namespace std::chrono;
  return duration<double>(steady_clock::now().time_since_epoch()).count();
}

namespace {

/// The operator's handler: lends the tensors' memory to the halo and remembers the calls.
class HaloHandler : public ExchangeHandler {
 public:
  HaloHandler(Halo *halo, int64_t num_nodes, double &seconds)
      : halo(halo)
      , num_nodes(num_nodes)
      , seconds(seconds)
  {
  }

  at::Tensor forward(const at::Tensor &local, int64_t num_rows) override
  {
    TORCH_CHECK(num_rows == num_nodes, "ictp::exchange: expected num_nodes = ", num_nodes,
                " as handed to the model, got ", num_rows);
    const double start = now();
    const at::Tensor rows = at::empty({num_nodes, local.size(1)}, communicated(local));
    rows.narrow(0, 0, local.size(0)).copy_(local);
    halo->forward(bytes(rows), row_bytes(rows));
    pending.push_back({rows.size(1), rows.scalar_type()});
    seconds += now() - start;
    return rows.to(local.scalar_type());
  }

  at::Tensor backward(const at::Tensor &grad_all, int64_t num_local) override
  {
    const double start = now();
    const at::Tensor rows = at::empty(grad_all.sizes(), communicated(grad_all));
    rows.copy_(grad_all);
    reverse(rows);
    seconds += now() - start;
    return rows.narrow(0, 0, num_local).to(grad_all.scalar_type());
  }

  /// A process whose energies do not depend on some exchange (no atoms, no edges) still has to
  /// bring home the gradients that its neighbors send.
  void finish_backward()
  {
    while (!pending.empty())
      reverse(at::zeros({num_nodes, pending.back().first}, at::dtype(pending.back().second)));
  }

 private:
  static at::TensorOptions communicated(const at::Tensor &tensor)
  {
    return at::dtype(tensor.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  }

  static std::byte *bytes(const at::Tensor &rows)
  {
    return static_cast<std::byte *>(rows.data_ptr());
  }

  static size_t row_bytes(const at::Tensor &rows) { return rows.size(1) * rows.element_size(); }

  void reverse(const at::Tensor &rows)
  {
    const bool is_double = rows.scalar_type() == at::kDouble;
    halo->reverse(bytes(rows), row_bytes(rows),
                  is_double ? Halo::Scalar::FLOAT64 : Halo::Scalar::FLOAT32);
    pending.pop_back();
  }

  Halo *halo;
  int64_t num_nodes;
  double &seconds;
  std::vector<std::pair<int64_t, at::ScalarType>> pending;    // forward calls: width, type
};

at::Device choose_device(const std::string &name, int local_process)
{
  const int num_gpus = Model::num_gpus();
  if (name == "cpu" || (name == "auto" && num_gpus == 0))
    return at::kCPU;
  if (name != "auto" && name != "cuda")
    throw std::runtime_error("device '" + name + "': expected auto, cpu or cuda");
  if (num_gpus == 0)
    throw std::runtime_error(
        "device cuda: no CUDA device is visible to PyTorch (or it is a CPU-only build); "
        "use device cpu or auto");
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(local_process % num_gpus));
}

/// The line of an exception's text that says why: PyTorch appends stack traces, its interpreter
/// puts them in front.
std::string reason(const std::exception &error)
{
  std::string text = error.what();
  if (text.find("TorchScript interpreter") != std::string::npos) {
    static const std::string MARK = "\nRuntimeError: ";
    const size_t mark = text.rfind(MARK);
    text.erase(text.find_last_not_of(" \n") + 1);
    text.erase(0, mark == std::string::npos ? text.rfind('\n') + 1 : mark + MARK.size());
  }
  return text.substr(0, text.find('\n'));
}

/// Whether a file is one of torch.save: TorchScript archives have constants as well.
bool is_checkpoint(const std::string &path)
{
  try {
    caffe2::serialize::PyTorchStreamReader archive(path);
    return archive.hasRecord("data.pkl") && !archive.hasRecord("constants.pkl");
  } catch (const std::exception &) {
    return false;
  }
}

double max_deviation(const at::Tensor &value, const at::Tensor &reference)
{
  if (reference.numel() == 0)
    return 0.0;
  return (value - reference).abs().max().item<double>();
}

}    // namespace

struct Model::Impl {
  std::string path;
  torch::jit::Module module;
  at::Device device{at::kCPU};
  std::string device_name;
  std::vector<std::string> elements;
  double r_cut = 0.0;
  int num_layers = 0;
  std::string dtype;
  ModelTimings timings;
  at::Tensor node_energies, edge_gradients;    // CPU, contiguous, float64

  void load();
  void read_attributes();
  void self_check();
  void evaluate(const at::Tensor &species, const at::Tensor &edge_index,
                const at::Tensor &edge_vectors, int64_t num_local, HaloHandler *handler);
};

void Model::Impl::load()
{
  if (std::filesystem::is_directory(path))
    throw std::runtime_error("is a folder: export the model of a training with `ictp export`");
  if (!std::ifstream(path).good())
    throw std::runtime_error("file not found or not readable");
  if (is_checkpoint(path))
    throw std::runtime_error("is a checkpoint of a training: export it with `ictp export`");
  try {
    module = torch::jit::load(path, device);
  } catch (const std::exception &error) {
    throw std::runtime_error("not an exported model (" + reason(error) +
                             "): make one with `ictp export`");
  }
  module.eval();
}

void Model::Impl::read_attributes()
{
  if (!module.hasattr("schema_version"))
    throw std::runtime_error("a TorchScript file without schema_version, so not an exported ICTP "
                             "model: make one with `ictp export`");
  const auto schema = module.attr("schema_version").toInt();
  if (schema != SCHEMA_VERSION)
    throw std::runtime_error("has schema " + std::to_string(schema) + ", this build reads " +
                             std::to_string(SCHEMA_VERSION) +
                             ": export it again with `ictp export`");
  for (const c10::IValue &element : module.attr("elements").toListRef())
    elements.push_back(element.toStringRef());
  r_cut = module.attr("r_cut").toDouble();
  num_layers = static_cast<int>(module.attr("num_layers").toInt());
  dtype = module.attr("dtype").toStringRef();
}

void Model::Impl::evaluate(const at::Tensor &species, const at::Tensor &edge_index,
                           const at::Tensor &edge_vectors, int64_t num_local, HaloHandler *handler)
{
  // Edge counts change with every step: an executor that specialises on shapes recompiles for ever.
  torch::jit::GraphOptimizerEnabledGuard no_specialisation(false);
  ExchangeScope scope(handler);
  const double before = timings.exchange;
  const double start = now();
  const at::Tensor vectors = edge_vectors.to(device).requires_grad_(true);
  const at::Tensor energies =
      module.forward({species.to(device), edge_index.to(device), vectors, num_local}).toTensor();
  TORCH_CHECK(energies.dim() == 1 && energies.size(0) == num_local, "expected node energies (",
              num_local, "), got ", energies.sizes());
  const double middle = now();
  const double between = timings.exchange;

  at::Tensor gradients;
  if (energies.requires_grad())
    gradients = torch::autograd::grad({energies.sum()}, {vectors}, {}, false, false, true)[0];
  if (!gradients.defined())
    gradients = at::zeros_like(vectors);
  if (handler)
    handler->finish_backward();
  node_energies = energies.detach().to(at::kCPU, at::kDouble).contiguous();
  edge_gradients = gradients.to(at::kCPU, at::kDouble).contiguous();
  timings.forward += middle - start - (between - before);
  timings.backward += now() - middle - (timings.exchange - between);
}

void Model::Impl::self_check()
{
  const auto read = [this](const char *name) {
    return module.attr(name).toTensor().to(at::kCPU);
  };
  const at::Tensor edge_index = read("reference_edge_index");
  const at::Tensor vectors = read("reference_edge_vectors");
  const at::Tensor forces = at::zeros_like(read("reference_forces"));
  const double tolerance = module.attr("reference_tolerance").toDouble();

  evaluate(read("reference_species"), edge_index, vectors, forces.size(0), nullptr);
  forces.index_add_(0, edge_index[0], edge_gradients).index_add_(0, edge_index[1], -edge_gradients);
  const at::Tensor virial = -at::matmul(vectors.t(), edge_gradients);
  timings = ModelTimings();

  const auto compare = [&](const char *what, const at::Tensor &value, const char *name,
                           double limit) {
    const double deviation = max_deviation(value, read(name));
    if (deviation <= limit)
      return;    // a NaN does not pass
    char text[256];
    std::snprintf(text, sizeof(text),
                  "does not reproduce its reference structure on %s: %s differ by %.3g, allowed is "
                  "%.3g: check PyTorch's version and the driver, or export the model again",
                  device_name.c_str(), what, deviation, limit);
    throw std::runtime_error(text);
  };
  compare("node energies [eV]", node_energies, "reference_node_energies", tolerance);
  compare("forces [eV/A]", forces, "reference_forces", tolerance);
  compare("virial components [eV]", virial, "reference_virial", 10.0 * tolerance);
}

Model::Model(const std::string &path, const std::string &device, int local_process)
    : impl(std::make_unique<Impl>())
{
  impl->path = path;
  try {
    impl->device = choose_device(device, local_process);
    impl->device_name = impl->device.str();
    impl->load();
    impl->read_attributes();
    impl->self_check();
  } catch (const std::exception &error) {
    throw std::runtime_error("model '" + path + "': " + reason(error));
  }
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

Evaluation Model::evaluate(const Graph &graph, Halo *halo)
{
  const auto indices = at::dtype(at::kLong);
  const auto view = [&](const std::vector<int64_t> &values, int64_t size) {
    return at::from_blob(const_cast<int64_t *>(values.data()), {size}, indices);
  };
  HaloHandler handler(halo, graph.num_nodes, impl->timings.exchange);
  try {
    impl->evaluate(
        view(graph.species, graph.num_nodes),
        at::stack({view(graph.centers, graph.num_edges), view(graph.neighbors, graph.num_edges)}),
        at::from_blob(const_cast<double *>(graph.edge_vectors.data()), {graph.num_edges, 3},
                      at::dtype(at::kDouble)),
        graph.num_local, halo ? &handler : nullptr);
  } catch (const std::exception &error) {
    throw std::runtime_error("model '" + impl->path + "': " + reason(error));
  }
  return {impl->node_energies.data_ptr<double>(), impl->edge_gradients.data_ptr<double>()};
}

}    // namespace ictp
