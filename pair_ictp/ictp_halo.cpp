// SPDX-License-Identifier: GPL-2.0-only
#include "ictp_halo.h"

#include "comm.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace ictp {

static constexpr size_t SLICE_BYTES = LammpsHalo::COMM_WIDTH * sizeof(double);
static constexpr int64_t UNLISTED = std::numeric_limits<int64_t>::max();

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

void LammpsHalo::learn_list(int num, const int *atoms)
{
  for (int i = 0; i < num; ++i) {
    if (static_cast<size_t>(atoms[i]) >= is_sent.size())
      is_sent.resize(atoms[i] + 1);
    is_sent[atoms[i]] = 1;
  }
}

void LammpsHalo::attach(const Candidates &nodes, int num_owned, int num_atoms)
{
  is_sent.resize(num_atoms);
  row_of_atom.assign(num_atoms, UNLISTED);
  asked_for_.clear();
  num_ghosts_ = nodes.num_nodes - nodes.num_local;
  for (int64_t node = 0; node < nodes.num_local; ++node)
    if (const int atom = nodes.node_atoms[node]; is_sent[atom]) {
      row_of_atom[atom] = static_cast<int64_t>(asked_for_.size());
      asked_for_.push_back(node);
    }
  const int64_t first_ghost = static_cast<int64_t>(asked_for_.size()) - nodes.num_local;
  for (int64_t node = nodes.num_local; node < nodes.num_nodes; ++node)
    row_of_atom[nodes.node_atoms[node]] = first_ghost + node;
  num_spare = 0;
  for (int atom = 0; atom < num_atoms; ++atom)
    if (row_of_atom[atom] == UNLISTED && (is_sent[atom] || atom >= num_owned))
      row_of_atom[atom] = -1 - static_cast<int64_t>(num_spare++);
}

void LammpsHalo::begin(std::byte *features, size_t bytes)
{
  rows = features;
  row_bytes = bytes;
  is_unlisted = false;
  const size_t size = (num_spare + 1) * COMM_WIDTH;    // the last one for what should not be
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
  int64_t row = row_of_atom[atom];
  if (row == UNLISTED) {
    is_unlisted = true;
    row = -1 - static_cast<int64_t>(num_spare);
  }
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
  end();
}

void LammpsHalo::end() const
{
  if (is_unlisted)
    throw std::runtime_error("LAMMPS sends other atoms than when it made its neighbor list");
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
  end();
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
  return (row_of_atom.capacity() + asked_for_.capacity()) * sizeof(int64_t) + is_sent.capacity() +
         spare.capacity() * sizeof(double);
}

}    // namespace ictp
