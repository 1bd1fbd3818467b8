// SPDX-License-Identifier: GPL-2.0-only
// The C++ graph builder and model on NumPy arrays: what the tests and the ASE calculator use.
#include "ictp_device_graph.h"
#include "ictp_model.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <stdexcept>

namespace py = pybind11;

template <typename T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

namespace {

template <typename T>
py::array_t<T> to_numpy(const T *data, std::vector<py::ssize_t> shape)
{
  py::array_t<T> array(shape);
  std::copy_n(data, array.size(), array.mutable_data());
  return array;
}

void require(bool condition, const char *message)
{
  if (!condition)
    throw std::invalid_argument(message);
}

py::dict to_dict(const ictp::Candidates &nodes, const ictp::EdgeList &edges)
{
  const auto num_edges = static_cast<py::ssize_t>(edges.centers.size());
  py::array_t<int64_t> edge_index({py::ssize_t(2), num_edges});
  std::ranges::copy(edges.centers, edge_index.mutable_data());
  std::ranges::copy(edges.neighbors, edge_index.mutable_data() + num_edges);
  py::dict result;
  result["species"] = to_numpy(nodes.species.data(), {nodes.num_nodes});
  result["edge_index"] = edge_index;
  result["edge_vectors"] = to_numpy(edges.vectors.data(), {num_edges, 3});
  result["node_atoms"] = to_numpy(nodes.node_atoms.data(), {nodes.num_nodes});
  result["num_local"] = nodes.num_local;
  return result;
}

class Builder {
 public:
  Builder(std::vector<int> species_of_type, double r_cut)
      : builder(std::move(species_of_type))
      , graph("cpu", r_cut)
  {
  }

  void rebuild(const Array<int> &types, const Array<int64_t> &tags, int num_local,
               const Array<int> &centers, const Array<int64_t> &offsets, Array<int> &neighbors,
               int mask)
  {
    const auto num_centers = static_cast<int>(centers.size());
    num_atoms = static_cast<int>(types.size());
    require(tags.size() == num_atoms, "tags: expected one per atom");
    require(num_local >= 0 && num_local <= num_atoms, "num_local: more than there are atoms");
    require(offsets.size() == num_centers + 1, "neighbor_offsets: expected one more than centers");
    std::vector<int> counts(num_atoms, 0);
    std::vector<int *> lists(num_atoms, nullptr);
    for (int row = 0; row < num_centers; ++row) {
      const int atom = centers.data()[row];
      require(atom >= 0 && atom < num_local, "centers: expected indices of local atoms");
      counts[atom] = static_cast<int>(offsets.data()[row + 1] - offsets.data()[row]);
      lists[atom] = neighbors.mutable_data() + offsets.data()[row];
    }
    builder.rebuild({num_local, num_atoms - num_local, types.data(), tags.data()},
                    {num_centers, centers.data(), counts.data(), lists.data(), mask});
    graph.rebuild(builder.candidates());
  }

  py::dict update(const Array<double> &positions)
  {
    require(positions.size() == py::ssize_t(3) * num_atoms, "positions: expected 3 per atom");
    graph.update(positions.data(), num_atoms);
    return to_dict(builder.candidates(), graph.edges());
  }

 private:
  ictp::GraphBuilder builder;
  ictp::DeviceGraph graph;
  int num_atoms = 0;
};

py::dict build_graph(const Array<double> &positions, const Array<int> &types,
                     const Array<int64_t> &tags, int num_local, const Array<int> &centers,
                     const Array<int64_t> &offsets, Array<int> &neighbors,
                     std::vector<int> species_of_type, double r_cut)
{
  Builder builder(std::move(species_of_type), r_cut);
  builder.rebuild(types, tags, num_local, centers, offsets, neighbors, -1);
  return builder.update(positions);
}

/// The operators read and write by these indices unchecked.
void check_indices(const std::vector<int64_t> &species, const ictp::EdgeList &edges,
                   int64_t num_local, size_t num_species)
{
  const auto num_nodes = static_cast<int64_t>(species.size());
  const auto within = [](const std::vector<int64_t> &values, int64_t size) {
    return std::ranges::all_of(values, [=](int64_t value) {
      return value >= 0 && value < size;
    });
  };
  require(num_local >= 0 && num_local <= num_nodes,
          "num_local: expected 0 to the number of species");
  require(within(species, static_cast<int64_t>(num_species)),
          "species: expected indices of the model's elements");
  require(within(edges.centers, num_local) && within(edges.neighbors, num_nodes),
          "edge_index: expected centers below num_local, neighbors below the number of nodes");
  require(std::ranges::is_sorted(edges.centers), "edge_index: expected ascending centers");
}

py::tuple evaluate(ictp::Model &model, const Array<int64_t> &species,
                   const Array<int64_t> &edge_index, const Array<double> &edge_vectors,
                   int64_t num_local)
{
  require(edge_index.ndim() == 2 && edge_index.shape(0) == 2, "edge_index: expected (2, E)");
  const py::ssize_t num_edges = edge_index.shape(1);
  require(edge_vectors.size() == 3 * num_edges, "edge_vectors: expected (E, 3)");
  const std::vector<int64_t> kinds(species.data(), species.data() + species.size());
  const int64_t *centers = edge_index.data(), *neighbors = centers + num_edges;
  const ictp::EdgeList edges{{centers, neighbors},
                             {neighbors, neighbors + num_edges},
                             {edge_vectors.data(), edge_vectors.data() + 3 * num_edges}};
  check_indices(kinds, edges, num_local, model.elements().size());
  const double *energies = nullptr, *gradients = nullptr;
  {
    py::gil_scoped_release no_gil;    // autograd asks for it
    ictp::DeviceGraph graph(model.device(), model.r_cut());
    graph.assign(num_local, kinds, edges);
    model.evaluate(graph);
    energies = model.node_energies();
    gradients = model.edge_gradients();
  }
  return py::make_tuple(to_numpy(energies, {num_local}), to_numpy(gradients, {num_edges, 3}));
}

}    // namespace

PYBIND11_MODULE(_native, module)
{
  module.doc() = "The C++ side of pair_ictp on NumPy arrays.";
  module.attr("SCHEMA_VERSION") = ictp::Model::SCHEMA_VERSION;

  py::class_<Builder>(module, "GraphBuilder",
                      "Turns neighbor lists into graphs, as the pair style does.")
      .def(py::init<std::vector<int>, double>(), py::arg("species_of_type"), py::arg("r_cut"))
      .def("rebuild", &Builder::rebuild, py::arg("types"), py::arg("tags"), py::arg("num_local"),
           py::arg("centers"), py::arg("neighbor_offsets"), py::arg("neighbors"),
           py::arg("mask") = -1,
           "Read a neighbor list: rows of `centers` (local atoms), local atoms first, then ghosts.")
      .def("update", &Builder::update, py::arg("positions"),
           "Return the graph at these positions as a dict of arrays.");
  module.def("build_graph", &build_graph, py::arg("positions"), py::arg("types"), py::arg("tags"),
             py::arg("num_local"), py::arg("centers"), py::arg("neighbor_offsets"),
             py::arg("neighbors"), py::arg("species_of_type"), py::arg("r_cut"),
             "Return the graph of one neighbor list: rebuild and update of GraphBuilder in one.");

  py::class_<ictp::Model>(module, "Model", "An exported model, evaluated by the code LAMMPS uses.")
      .def(py::init([](const std::string &path, const std::string &device) {
             return std::make_unique<ictp::Model>(path, ictp::read_model_file(path), device);
           }),
           py::arg("path"), py::arg("device") = "cpu", py::call_guard<py::gil_scoped_release>())
      .def("evaluate", &evaluate, py::arg("species"), py::arg("edge_index"),
           py::arg("edge_vectors"), py::arg("num_local"),
           "Return node energies (num_local,) [eV] and edge gradients (E, 3) [eV/A].")
      .def_property_readonly("elements", &ictp::Model::elements)
      .def_property_readonly("r_cut", &ictp::Model::r_cut)
      .def_property_readonly("num_layers", &ictp::Model::num_layers)
      .def_property_readonly("dtype", &ictp::Model::dtype)
      .def_property_readonly("device", &ictp::Model::device);
}
