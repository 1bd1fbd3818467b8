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

void LammpsHalo::attach(const Graph &graph, int num_atoms)
{
  row_of_atom.assign(num_atoms, -1);
  for (int64_t node = 0; node < graph.num_nodes; ++node) row_of_atom[graph.node_atoms[node]] = node;
  num_spare = 0;
  for (int64_t &row : row_of_atom)
    if (row < 0)
      row = -1 - static_cast<int64_t>(num_spare++);
}

void LammpsHalo::begin(std::byte *features, size_t bytes)
{
  rows = features;
  row_bytes = bytes;
  const size_t size = num_spare * COMM_WIDTH;
  if (spare.size() < size)
    spare.resize(size);
}

void LammpsHalo::begin_slice(size_t start)
{
  offset = start;
  slice_bytes = std::min(SLICE_BYTES, row_bytes - offset);
  width = static_cast<int>((slice_bytes + sizeof(double) - 1) / sizeof(double));
}

std::byte *LammpsHalo::slice(int atom)
{
  const int64_t row = row_of_atom[atom];
  if (row >= 0)
    return rows + row * row_bytes + offset;
  return reinterpret_cast<std::byte *>(spare.data()) + (-1 - row) * SLICE_BYTES;
}

void LammpsHalo::forward(std::byte *features, size_t bytes)
{
  begin(features, bytes);
  for (size_t start = 0; start < row_bytes; start += SLICE_BYTES) {
    begin_slice(start);
    comm->forward_comm(pair, width);
  }
}

void LammpsHalo::reverse(std::byte *gradients, size_t bytes, Scalar type)
{
  scalar = type;
  begin(gradients, bytes);
  for (size_t start = 0; start < row_bytes; start += SLICE_BYTES) {
    begin_slice(start);
    std::fill_n(spare.begin(), num_spare * COMM_WIDTH, 0.0);
    comm->reverse_comm(pair, width);
  }
}

int LammpsHalo::pack(int num, const int *atoms, double *buffer)
{
  for (int i = 0; i < num; ++i) memcpy(buffer + i * width, slice(atoms[i]), slice_bytes);
  return num * width;
}

void LammpsHalo::unpack(int num, int first, const double *buffer)
{
  for (int i = 0; i < num; ++i) memcpy(slice(first + i), buffer + i * width, slice_bytes);
}

int LammpsHalo::pack(int num, int first, double *buffer)
{
  for (int i = 0; i < num; ++i) memcpy(buffer + i * width, slice(first + i), slice_bytes);
  return num * width;
}

void LammpsHalo::add(int num, const int *atoms, const double *buffer)
{
  for (int i = 0; i < num; ++i) add_row(scalar, slice(atoms[i]), buffer + i * width, slice_bytes);
}

size_t LammpsHalo::memory_bytes() const
{
  return row_of_atom.capacity() * sizeof(int64_t) + spare.capacity() * sizeof(double);
}

}    // namespace ictp
