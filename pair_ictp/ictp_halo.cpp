// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_halo.h"

#include "comm.h"

#include <algorithm>
#include <cstring>

namespace ictp {

static constexpr size_t SLICE_BYTES = LammpsHalo::COMM_WIDTH * sizeof(double);

template <typename T>
static void add_values(void *sum, const void *values, size_t bytes)
{
  for (size_t k = 0; k < bytes / sizeof(T); ++k)
    static_cast<T *>(sum)[k] += static_cast<const T *>(values)[k];
}

static void add_row(Halo::Scalar scalar, void *sum, const void *values, size_t bytes)
{
  if (scalar == Halo::Scalar::FLOAT32)
    add_values<float>(sum, values, bytes);
  else
    add_values<double>(sum, values, bytes);
}

void LammpsHalo::attach(const Graph &current, int atoms)
{
  graph = &current;
  num_atoms = atoms;
}

size_t LammpsHalo::begin_slice(size_t offset, size_t row_bytes)
{
  const size_t bytes = std::min(SLICE_BYTES, row_bytes - offset);
  width = static_cast<int>((bytes + sizeof(double) - 1) / sizeof(double));
  const size_t size = static_cast<size_t>(num_atoms) * width;
  if (slots.size() < size)
    slots.resize(size);
  return bytes;
}

void LammpsHalo::forward(std::byte *rows, size_t row_bytes)
{
  for (size_t offset = 0; offset < row_bytes; offset += SLICE_BYTES) {
    const size_t bytes = begin_slice(offset, row_bytes);
    for (int64_t node = 0; node < graph->num_local; ++node)
      memcpy(slot(graph->node_atoms[node]), rows + node * row_bytes + offset, bytes);
    comm->forward_comm(pair, width);
    for (int64_t node = graph->num_local; node < graph->num_nodes; ++node)
      memcpy(rows + node * row_bytes + offset, slot(graph->node_atoms[node]), bytes);
  }
}

void LammpsHalo::reverse(std::byte *rows, size_t row_bytes, Scalar type)
{
  scalar = type;
  for (size_t offset = 0; offset < row_bytes; offset += SLICE_BYTES) {
    const size_t bytes = begin_slice(offset, row_bytes);
    std::fill_n(slots.begin(), static_cast<size_t>(num_atoms) * width, 0.0);
    for (int64_t node = graph->num_local; node < graph->num_nodes; ++node)
      memcpy(slot(graph->node_atoms[node]), rows + node * row_bytes + offset, bytes);
    comm->reverse_comm(pair, width);
    for (int64_t node = 0; node < graph->num_local; ++node)
      add_row(scalar, rows + node * row_bytes + offset, slot(graph->node_atoms[node]), bytes);
  }
}

int LammpsHalo::pack(int num, const int *atoms, double *buffer) const
{
  for (int i = 0; i < num; ++i) memcpy(buffer + i * width, slot(atoms[i]), width * sizeof(double));
  return num * width;
}

void LammpsHalo::unpack(int num, int first, const double *buffer)
{
  std::copy_n(buffer, static_cast<size_t>(num) * width, slot(first));
}

int LammpsHalo::pack(int num, int first, double *buffer) const
{
  std::copy_n(slot(first), static_cast<size_t>(num) * width, buffer);
  return num * width;
}

void LammpsHalo::add(int num, const int *atoms, const double *buffer)
{
  for (int i = 0; i < num; ++i)
    add_row(scalar, slot(atoms[i]), buffer + i * width, width * sizeof(double));
}

}    // namespace ictp
