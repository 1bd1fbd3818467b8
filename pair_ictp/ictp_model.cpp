// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_model.h"

#include "ictp_messages.h"

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
  text.erase(0, text.find_first_not_of(" \n"));
  return text.substr(0, text.find('\n'));
}

/// What anybody can see of a file that is no exported model; empty when there is hope.
std::string what_is_wrong(const std::string &path)
{
  if (std::filesystem::is_directory(path))
    return "is a folder: export the model of a training with `ictp export`";
  std::ifstream file(path, std::ios::binary);
  if (!file.good())
    return "file not found or not readable";
  char start[4] = {};
  file.read(start, sizeof(start));
  if (memcmp(start, "PK\3\4", sizeof(start)) != 0)
    return "not an exported model (those are zip archives, this file is something else): make one "
           "with `ictp export`";
  try {
    // one of torch.save has no constants, a TorchScript archive has
    caffe2::serialize::PyTorchStreamReader archive(path);
    if (archive.hasRecord("data.pkl") && !archive.hasRecord("constants.pkl"))
      return "is a checkpoint of a training: export it with `ictp export`";
  } catch (const std::exception &error) {
    if (reason(error).find("central directory") != std::string::npos)
      return "is truncated: copy it or export it again";
  }
  return "";
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
  int num_models = 1;
  bool has_grades = false;
  std::string dtype;
  std::vector<std::vector<Message>> messages;    // the exchanges of one evaluation, by member + 1
  ModelTimings timings;
  at::Tensor node_energies, edge_gradients, grades;    // CPU, contiguous, float64

  void load();
  void read_attributes();
  void self_check();
  void record_messages();
  at::Tensor energies(int member, bool graded, std::vector<c10::IValue> graph);
  void evaluate(const at::Tensor &species, const at::Tensor &edge_index,
                const at::Tensor &edge_vectors, int64_t num_local, ExchangeHandler *handler,
                int member = MEAN, bool graded = false);
};

void Model::Impl::load()
{
  const std::string wrong = what_is_wrong(path);
  if (!wrong.empty())
    throw std::runtime_error(wrong);
  try {
    module = torch::jit::load(path, device);
  } catch (const std::exception &error) {
    const std::string text = reason(error);
    static const std::string UNKNOWN = "Unknown builtin op: ";
    if (text.starts_with(UNKNOWN))
      throw std::runtime_error("needs the operator " +
                               text.substr(UNKNOWN.size(), text.rfind('.') - UNKNOWN.size()) +
                               " which this build does not have: update pair_ictp, or export the "
                               "model with --portable");
    throw std::runtime_error("not an exported model (" + text + "): make one with `ictp export`");
  }
  module.eval();
}

void Model::Impl::read_attributes()
{
  const auto schema_attribute = module.attr("schema_version", c10::IValue());
  if (!schema_attribute.isInt())
    throw std::runtime_error("a TorchScript file without schema_version, so not an exported ICTP "
                             "model: make one with `ictp export`");
  const auto schema = schema_attribute.toInt();
  if (schema != SCHEMA_VERSION)
    throw std::runtime_error("has schema " + std::to_string(schema) + ", this build reads " +
                             std::to_string(SCHEMA_VERSION) +
                             ": export it again with `ictp export`");
  for (const char *name : {"elements", "r_cut", "num_layers", "dtype", "reference_species"})
    if (!module.hasattr(name))
      throw std::runtime_error("lacks " + std::string(name) +
                               " of schema 1: export it again with `ictp export`");
  for (const c10::IValue &element : module.attr("elements").toListRef())
    elements.push_back(element.toStringRef());
  r_cut = module.attr("r_cut").toDouble();
  num_layers = static_cast<int>(module.attr("num_layers").toInt());
  dtype = module.attr("dtype").toStringRef();
  // files of before ensembles do not say
  num_models = static_cast<int>(module.attr("num_models", c10::IValue(1)).toInt());
  has_grades = module.attr("has_grade", c10::IValue(false)).toBool();
}

/// Grades go to `grades`.
at::Tensor Model::Impl::energies(int member, bool graded, std::vector<c10::IValue> graph)
{
  grades = at::empty({0}, at::dtype(at::kDouble));
  graded = graded && has_grades && (member == 0 || num_models == 1);
  if (num_models == 1)
    member = graded ? 0 : MEAN;    // the same; files of before ensembles have no members
  if (member == MEAN)
    return module.forward(std::move(graph)).toTensor();
  graph.insert(graph.begin(), {c10::IValue(member), c10::IValue(graded)});
  const auto found = module.get_method("member")(std::move(graph)).toTuple();
  grades = found->elements()[1].toTensor().to(at::kCPU, at::kDouble).contiguous();
  return found->elements()[0].toTensor();
}

void Model::Impl::evaluate(const at::Tensor &species, const at::Tensor &edge_index,
                           const at::Tensor &edge_vectors, int64_t num_local,
                           ExchangeHandler *handler, int member, bool graded)
{
  // Edge counts change with every step: an executor that specialises on shapes recompiles for ever.
  torch::jit::GraphOptimizerEnabledGuard no_specialisation(false);
  ExchangeScope scope(handler);
  const double before = timings.exchange;
  const double start = now();
  const at::Tensor vectors = edge_vectors.to(device).requires_grad_(true);
  const at::Tensor energies = this->energies(
      member, graded, {species.to(device), edge_index.to(device), vectors, num_local});
  TORCH_CHECK(energies.dim() == 1 && energies.size(0) == num_local, "expected node energies (",
              num_local, "), got ", energies.sizes());
  const double middle = now();
  const double between = timings.exchange;

  at::Tensor gradients;
  if (energies.requires_grad())
    gradients = torch::autograd::grad({energies.sum()}, {vectors}, {}, false, false, true)[0];
  if (!gradients.defined())
    gradients = at::zeros_like(vectors);
  if (auto *messages = dynamic_cast<MessageHandler *>(handler))
    messages->finish_backward();
  node_energies = energies.detach().to(at::kCPU, at::kDouble).contiguous();
  edge_gradients = gradients.to(at::kCPU, at::kDouble).contiguous();
  timings.forward += middle - start - (between - before);
  timings.backward += now() - middle - (timings.exchange - between);
}

/// Which exchanges the mean and each model make, on the reference structure.
void Model::Impl::record_messages()
{
  const auto read = [this](const char *name) {
    return module.attr(name).toTensor();
  };
  for (int member = MEAN; member < num_models; ++member) {
    MessageRecorder recorder;
    if (num_models > 1 || member == MEAN)
      evaluate(read("reference_species"), read("reference_edge_index"),
               read("reference_edge_vectors"), read("reference_species").size(0), &recorder,
               member);
    messages.push_back(member == 0 && num_models == 1 ? messages[0] : recorder.messages);
  }
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

  record_messages();
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

int Model::num_models() const
{
  return impl->num_models;
}

bool Model::has_grades() const
{
  return impl->has_grades;
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
  MessageHandler handler(halo, 0, impl->messages.at(member + 1), impl->timings.exchange);
  handler.finish_after_failure();
}

Evaluation Model::evaluate(const Graph &graph, Halo *halo, int member, bool graded)
{
  const auto indices = at::dtype(at::kLong);
  const auto view = [&](const std::vector<int64_t> &values, int64_t size) {
    return at::from_blob(const_cast<int64_t *>(values.data()), {size}, indices);
  };
  MessageHandler handler(halo, graph.num_nodes, impl->messages.at(member + 1),
                         impl->timings.exchange);
  try {
    impl->evaluate(
        view(graph.species, graph.num_nodes),
        at::stack({view(graph.centers, graph.num_edges), view(graph.neighbors, graph.num_edges)}),
        at::from_blob(const_cast<double *>(graph.edge_vectors.data()), {graph.num_edges, 3},
                      at::dtype(at::kDouble)),
        graph.num_local, halo ? &handler : nullptr, member, graded);
  } catch (const std::exception &error) {
    const std::string text = "model '" + impl->path + "': " + reason(error);
    if (halo)
      finish_after_failure(handler, text);
    throw std::runtime_error(text);
  }
  const bool with_grades = impl->grades.size(0) == graph.num_local;
  return {impl->node_energies.data_ptr<double>(), impl->edge_gradients.data_ptr<double>(),
          with_grades ? impl->grades.data_ptr<double>() : nullptr};
}

}    // namespace ictp
