// SPDX-License-Identifier: GPL-2.0-only
// An exported file is read and checked; evaluations are in ictp_model.cpp.
#include "ictp_archive.h"
#include "ictp_model_impl.h"

#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/DeviceGuard.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <set>
#include <stdexcept>
#include <utility>

namespace ictp {

namespace {

// more than any model of today, little enough for a damaged file not to take all memory or time
constexpr double MAX_R_CUT = 100.0;    // A
constexpr int MAX_LAYERS = 100, MAX_MODELS = 1000;
constexpr int64_t MAX_REFERENCE = 10000;    // nodes, and neighbors of each

/// Why PyTorch has no GPU, which it keeps for itself when it counts them.
std::string why_no_gpu()
{
  try {
    at::detail::getCUDAHooks().init();
  } catch (const std::exception &error) {
    const std::string text = reason(error);
    if (text.starts_with("Cannot initialize CUDA without"))
      return "it is a build without CUDA";
    return text.substr(0, text.find(". "));    // then comes where to download what
  }
  return "it counts none";
}

at::Device choose_device(const std::string &name, int local_process)
{
  const int num_gpus = Model::num_gpus();
  if (name == "cpu" || (name == "auto" && num_gpus == 0))
    return at::kCPU;
  if (name != "auto" && name != "cuda")
    throw std::runtime_error("device '" + name + "': expected auto, cpu or cuda");
  if (num_gpus == 0)
    throw std::runtime_error("device cuda: no CUDA device is visible to PyTorch (" + why_no_gpu() +
                             "); use device cpu or auto");
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(local_process % num_gpus));
}

/// Refuses an archive whose attributes are not those of its metadata.json.
void check_metadata(std::string metadata, const std::vector<std::string> &elements, double r_cut)
{
  std::erase_if(metadata, [](unsigned char c) {
    return std::isspace(c);
  });
  std::string names;
  for (const std::string &element : elements)
    names += (names.empty() ? "\"" : ",\"") + element + "\"";
  // those of the file come before those of its models
  const auto value_of = [&](const std::string &key) {
    const size_t place = metadata.find("\"" + key + "\":");
    return place == std::string::npos ? std::string() : metadata.substr(place + key.size() + 3);
  };
  if (!value_of("format").starts_with("\"ictp\"") ||
      !value_of("elements").starts_with("[" + names + "]") ||
      std::strtod(value_of("r_cut").c_str(), nullptr) != r_cut)
    throw std::runtime_error("elements or r_cut are not those of the metadata.json in the file: "
                             "export it again with `ictp export`");
}

double max_deviation(const at::Tensor &value, const at::Tensor &reference)
{
  if (reference.numel() == 0)
    return 0.0;
  return (value - reference).abs().max().item<double>();
}

}    // namespace

static std::string name_of(const std::string &path)
{
  return "model '" + path + "': ";
}

std::string read_model_file(const std::string &path)
{
  const std::string name = name_of(path);
  if (std::filesystem::is_directory(path))
    throw std::runtime_error(name +
                             "is a folder: export the model of a training with `ictp export`");
  std::ifstream file(path, std::ios::binary);
  if (!file.good())
    throw std::runtime_error(name + "file not found or not readable");
  try {
    std::string bytes(std::filesystem::file_size(path), '\0');
    if (file.read(bytes.data(), static_cast<std::streamsize>(bytes.size())))
      return bytes;
  } catch (const std::bad_alloc &) {
    throw std::runtime_error(name + "not enough memory to read it");
  } catch (const std::filesystem::filesystem_error &) {
  }
  throw std::runtime_error(name + "cannot be read to its end");
}

void Model::Impl::load(std::string bytes)
{
  const auto shared = std::make_shared<const std::string>(std::move(bytes));
  metadata = check_archive(shared);
  try {
    module = torch::jit::load(std::make_shared<BytesReader>(shared), device, false);
  } catch (const std::bad_alloc &) {
    throw;
  } catch (const std::exception &error) {
    const std::string text = reason(error);
    static const std::string UNKNOWN = "Unknown builtin op: ";
    if (text.starts_with(UNKNOWN))
      throw std::runtime_error("needs the operator " +
                               text.substr(UNKNOWN.size(), text.rfind('.') - UNKNOWN.size()) +
                               " which this build does not have: update pair_ictp, or export the "
                               "model with --portable");
    if (is_out_of_memory(error))
      throw std::bad_alloc();
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
  for (const char *name :
       {"elements", "r_cut", "num_layers", "num_models", "has_grade", "dtype", "masses",
        "shortest_distances", "reference_species", "reference_edge_index", "reference_edge_vectors",
        "reference_node_energies", "reference_forces", "reference_virial", "reference_tolerance"})
    if (!module.hasattr(name))
      throw std::runtime_error("lacks " + std::string(name) + " of schema " +
                               std::to_string(SCHEMA_VERSION) +
                               ": export it again with `ictp export`");
  for (const c10::IValue &element : module.attr("elements").toListRef())
    elements.push_back(element.toStringRef());
  r_cut = module.attr("r_cut").toDouble();
  num_layers = static_cast<int>(module.attr("num_layers").toInt());
  num_models = static_cast<int>(module.attr("num_models").toInt());
  has_grades = module.attr("has_grade").toBool();
  dtype = module.attr("dtype").toStringRef();
  masses = module.attr("masses").toDoubleVector();
  shortest_distances = module.attr("shortest_distances").toDoubleVector();
}

/// Ranges of the attributes, and what must agree among them.
void Model::Impl::check_attributes() const
{
  const auto require = [](bool condition, const std::string &what) {
    if (!condition)
      throw std::runtime_error(what + ": export it again with `ictp export`");
  };
  const size_t num_species = elements.size();
  require(num_species > 0 && std::set(elements.begin(), elements.end()).size() == num_species,
          "expected elements, each named once");
  require(r_cut > 0.0 && r_cut <= MAX_R_CUT, "expected r_cut above 0 and up to " +
                                                 std::to_string(static_cast<int>(MAX_R_CUT)) +
                                                 " A, got " + std::to_string(r_cut));
  require(num_layers > 0 && num_layers <= MAX_LAYERS && num_models > 0 && num_models <= MAX_MODELS,
          "has " + std::to_string(num_layers) + " layers and " + std::to_string(num_models) +
              " models, expected 1 to " + std::to_string(MAX_LAYERS) + " and 1 to " +
              std::to_string(MAX_MODELS));
  require(dtype == "float32" || dtype == "float64",
          "expected dtype float32 or float64, got '" + dtype + "'");
  const auto in_range = [](double low, double high) {
    return [=](double value) {
      return value >= low && value <= high;    // a NaN is not
    };
  };
  require(masses.size() == num_species && std::ranges::all_of(masses, in_range(0.5, 500.0)),
          "expected masses, one per element");
  require(shortest_distances.size() == num_species * num_species &&
              std::ranges::all_of(shortest_distances, in_range(0.0, r_cut)),
          "expected shortest_distances from 0 to r_cut, one per pair of elements");
  check_metadata(metadata, elements, r_cut);
}

/// The reference structure must be one that the operators can take.
void Model::Impl::check_reference() const
{
  const auto read = [this](const char *name) {
    return module.attr(name).toTensor().to(at::kCPU);
  };
  const at::Tensor species = read("reference_species"), edges = read("reference_edge_index"),
                   vectors = read("reference_edge_vectors");
  const auto within = [](const at::Tensor &index, int64_t size) {
    return index.scalar_type() == at::kLong &&
           (index.numel() == 0 ||
            (index.min().item<int64_t>() >= 0 && index.max().item<int64_t>() < size));
  };
  const auto is_float = [](const at::Tensor &tensor, at::IntArrayRef sizes) {
    return tensor.scalar_type() == at::kDouble && tensor.sizes() == sizes;
  };
  const int64_t num_nodes = species.dim() == 1 ? species.size(0) : 0;
  const int64_t num_edges = edges.dim() == 2 ? edges.size(1) : 0;
  if (num_nodes == 0 || num_nodes > MAX_REFERENCE || num_edges > MAX_REFERENCE * num_nodes ||
      edges.dim() != 2 || edges.size(0) != 2 || !is_float(vectors, {num_edges, 3}) ||
      !within(species, static_cast<int64_t>(elements.size())) || !within(edges, num_nodes) ||
      (num_edges > 1 && (edges[0].diff() < 0).any().item<bool>()) ||
      !is_float(read("reference_node_energies"), {num_nodes}) ||
      !is_float(read("reference_forces"), {num_nodes, 3}) ||
      !is_float(read("reference_virial"), {3, 3}))
    throw std::runtime_error("its reference structure is damaged: export it again with "
                             "`ictp export`");
  if (num_edges > 0 && !(vectors.square().sum(1).max().item<double>() < r_cut * r_cut))
    throw std::runtime_error("its reference structure has an edge beyond r_cut " +
                             std::to_string(r_cut) + " A: export it again with `ictp export`");
}

GraphTensors Model::Impl::reference() const
{
  const auto read = [this](const char *name) {
    return module.attr(name).toTensor().to(device);
  };
  const at::Tensor species = read("reference_species"), edge_index = read("reference_edge_index");
  const at::Tensor offsets =
      at::searchsorted(edge_index[0], at::arange(species.size(0) + 1, edge_index.options()));
  return {species, edge_index, read("reference_edge_vectors").contiguous(), offsets,
          species.size(0)};
}

/// Which exchanges the mean and each model make, on the reference structure.
void Model::Impl::record_messages()
{
  for (int member = MEAN; member < num_models; ++member) {
    MessageRecorder recorder;
    if (num_models > 1 || member == MEAN)
      evaluate(reference(), &recorder, member);
    messages.push_back(member == 0 && num_models == 1 ? messages[0] : recorder.messages);
  }
}

void Model::Impl::self_check()
{
  const double tolerance = module.attr("reference_tolerance").toDouble();
  record_messages();
  evaluate(reference(), nullptr);
  timings = ModelTimings();

  const auto compare = [&](const char *what, const at::Tensor &value, const char *name,
                           double limit) {
    const double deviation = max_deviation(value, module.attr(name).toTensor().to(at::kCPU));
    if (deviation <= limit)
      return;    // a NaN does not pass
    char text[256];
    std::snprintf(text, sizeof(text),
                  "does not reproduce its reference structure on %s: %s differ by %.3g, allowed is "
                  "%.3g: check PyTorch's version and the driver, or export the model again",
                  device_name.c_str(), what, deviation, limit);
    throw std::runtime_error(text);
  };
  compare("node energies [eV]", to_host(node_energies), "reference_node_energies", tolerance);
  compare("forces [eV/A]", forces, "reference_forces", tolerance);
  compare("virial components [eV]", totals.narrow(0, 0, 9).view({3, 3}), "reference_virial",
          10.0 * tolerance);
}

Model::Model(const std::string &path, std::string bytes, const std::string &device,
             int local_process)
    : impl(std::make_unique<Impl>())
{
  impl->path = path;
  try {
    impl->device = choose_device(device, local_process);
    impl->device_name = impl->device.str();
    const c10::DeviceGuard guard(impl->device);    // as in evaluate()
    impl->load(std::move(bytes));
    impl->read_attributes();
    impl->check_attributes();
    impl->check_reference();
    impl->self_check();
  } catch (const std::exception &error) {
    const std::string text = reason(error), device = impl->device.str();
    if (is_out_of_memory(error))
      throw std::runtime_error(name_of(path) + "not enough memory on " + device + " to read it");
    if (text.find("no kernel image is available") != std::string::npos)    // of PyTorch's own
      throw std::runtime_error(name_of(path) + "this PyTorch was built for other GPUs than " +
                               device + ": install one for it, or use device cpu");
    throw std::runtime_error(name_of(path) + text);
  }
}

}    // namespace ictp
