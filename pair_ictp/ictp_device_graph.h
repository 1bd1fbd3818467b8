// SPDX-License-Identifier: GPL-2.0-only
#ifndef ICTP_DEVICE_GRAPH_H
#define ICTP_DEVICE_GRAPH_H

#include "ictp_graph.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ictp {

/// Edges in the memory of this process: for messages, and for tests.
struct EdgeList {
  std::vector<int64_t> centers;      ///< (num_edges) local nodes, ascending
  std::vector<int64_t> neighbors;    ///< (num_edges) any node
  std::vector<double> vectors;       ///< (num_edges, 3) r_neighbor - r_center [A]
};

/// Two nodes that are closer than they should be.
struct CloseEdge {
  int64_t center = -1, neighbor = -1;       ///< nodes; -1 where there is no such edge
  double distance = 0.0, shortest = 0.0;    ///< [A]
};

/// The graph of one process on the device of a model. Candidates go there when they are new,
/// positions on every step; edges come back only when somebody asks.
class DeviceGraph {
 public:
  /// device: "cpu", "cuda:1"; shortest_distances: (S, S) [A]; edges below are noticed, none if it
  /// is empty or zero.
  DeviceGraph(const std::string &device, double r_cut,
              const std::vector<double> &shortest_distances = {});
  ~DeviceGraph();

  void rebuild(const Candidates &candidates);

  /// Edges with r < r_cut at these positions (num_atoms, 3), local atoms and ghosts.
  void update(const double *positions, int num_atoms);

  /// A graph from elsewhere, in the place of candidates and positions.
  void assign(int64_t num_local, const std::vector<int64_t> &species, const EdgeList &edges);

  EdgeList edges() const;

  /// The edge of the last update that is farthest below its shortest distance, as part of it, if
  /// that part is less than `ratio`.
  CloseEdge closest(double ratio) const;

  /// In this process; what a GPU has is not counted.
  size_t memory_bytes() const;

  struct Impl;    // keeps torch out
  const Impl &tensors() const { return *impl; }

 private:
  std::unique_ptr<Impl> impl;
};

}    // namespace ictp

#endif
