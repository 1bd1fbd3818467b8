// SPDX-License-Identifier: GPL-2.0-only
// The C++ graph builder and model on NumPy arrays: what the tests and the ASE calculator use.
#include "ictp_graph.h"
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

py::dict to_dict(const ictp::Graph &graph)
{
  const py::ssize_t num_edges = graph.num_edges;
  py::array_t<int64_t> edge_index({py::ssize_t(2), num_edges});
  std::copy_n(graph.centers.data(), num_edges, edge_index.mutable_data());
  std::copy_n(graph.neighbors.data(), num_edges, edge_index.mutable_data() + num_edges);
  py::dict result;
  result["species"] = to_numpy(graph.species.data(), {graph.num_nodes});
  result["edge_index"] = edge_index;
  result["edge_vectors"] = to_numpy(graph.edge_vectors.data(), {num_edges, 3});
  result["node_atoms"] = to_numpy(graph.node_atoms.data(), {graph.num_nodes});
  result["num_local"] = graph.num_local;
  return result;
}

class Builder {
 public:
  Builder(std::vector<int> species_of_type, double r_cut)
      : builder(std::move(species_of_type), r_cut)
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
  }

  py::dict update(const Array<double> &positions)
  {
    require(positions.size() == py::ssize_t(3) * num_atoms, "positions: expected 3 per atom");
    return to_dict(builder.update(positions.data()));
  }

 private:
  ictp::GraphBuilder builder;
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
void check_indices(const ictp::Graph &graph, size_t num_species)
{
  const auto within = [](const std::vector<int64_t> &values, int64_t size) {
    return std::ranges::all_of(values, [=](int64_t value) {
      return value >= 0 && value < size;
    });
  };
  require(graph.num_local >= 0 && graph.num_local <= graph.num_nodes,
          "num_local: expected 0 to the number of species");
  require(within(graph.species, static_cast<int64_t>(num_species)),
          "species: expected indices of the model's elements");
  require(within(graph.centers, graph.num_local) && within(graph.neighbors, graph.num_nodes),
          "edge_index: expected centers below num_local, neighbors below the number of nodes");
  require(std::ranges::is_sorted(graph.centers), "edge_index: expected ascending centers");
}

py::tuple evaluate(ictp::Model &model, const Array<int64_t> &species,
                   const Array<int64_t> &edge_index, const Array<double> &edge_vectors,
                   int64_t num_local)
{
  require(edge_index.ndim() == 2 && edge_index.shape(0) == 2, "edge_index: expected (2, E)");
  ictp::Graph graph;
  graph.num_local = num_local;
  graph.num_nodes = species.size();
  graph.num_edges = edge_index.shape(1);
  require(edge_vectors.size() == 3 * graph.num_edges, "edge_vectors: expected (E, 3)");
  graph.species.assign(species.data(), species.data() + graph.num_nodes);
  graph.centers.assign(edge_index.data(), edge_index.data() + graph.num_edges);
  graph.neighbors.assign(edge_index.data() + graph.num_edges,
                         edge_index.data() + 2 * graph.num_edges);
  graph.edge_vectors.assign(edge_vectors.data(), edge_vectors.data() + 3 * graph.num_edges);
  check_indices(graph, model.elements().size());
  ictp::Evaluation result;
  {
    py::gil_scoped_release no_gil;    // autograd asks for it
    result = model.evaluate(graph);
  }
  return py::make_tuple(to_numpy(result.node_energies, {num_local}),
                        to_numpy(result.edge_gradients, {graph.num_edges, 3}));
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
