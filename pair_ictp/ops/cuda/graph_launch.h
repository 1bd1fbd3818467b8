// SPDX-License-Identifier: MIT
#ifndef ICTP_CUDA_GRAPH_LAUNCH_H
#define ICTP_CUDA_GRAPH_LAUNCH_H

#include "ops/graph_kernels.h"

#include <cuda_runtime_api.h>

// What starts the kernels of the graph on a GPU: plain pointers to its memory, no PyTorch.

namespace ictp {

/// The number of edges of each center to offsets[center+1], and `closest`, which is infinite
/// before.
cudaError_t launch_count_edges(const CandidateEdges &x, const FoundEdges &out, cudaStream_t stream);

/// The edges to where `offsets`, sums of these numbers, has places for them.
cudaError_t launch_write_edges(const CandidateEdges &x, const FoundEdges &out, cudaStream_t stream);

/// Adds to forces (num_nodes, 3) and virial (9).
cudaError_t launch_edge_sums(const EdgeGradients &x, double *forces, double *virial,
                             cudaStream_t stream);

/// Adds to virials (num_nodes, 9), `center_share` of an edge's to its center.
cudaError_t launch_edge_virials(const EdgeGradients &x, double center_share, double *virials,
                                cudaStream_t stream);

}    // namespace ictp

#endif
