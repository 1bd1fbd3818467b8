// SPDX-License-Identifier: GPL-2.0-only
// An exported file is read and checked; evaluations are in ictp_model.cpp.
#include "ictp_model_impl.h"

#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/import.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace ictp {

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

}    // namespace ictp
