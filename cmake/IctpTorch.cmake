# SPDX-License-Identifier: GPL-2.0-only
# Target ictp::torch: PyTorch's headers and the libraries every build of it has (CPU or CUDA).
#
# Not find_package(Torch): for a CUDA build of PyTorch that stops unless a CUDA toolkit is installed, and nothing here
# needs one. Only ATen and the dispatcher are used, so the CUDA backend comes in at run time through libtorch.so.
if(TORCH_ROOT)
  set(ICTP_TORCH_ROOT ${TORCH_ROOT})
else()
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c
            "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
    OUTPUT_VARIABLE ICTP_TORCH_ROOT OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE status ERROR_QUIET)
  if(status)
    message(FATAL_ERROR "PyTorch not found: ${Python_EXECUTABLE} has no package torch. "
                        "Install it there, or give -D TORCH_ROOT=<folder with include and lib>")
  endif()
endif()
set(ICTP_TORCH_LIB ${ICTP_TORCH_ROOT}/lib)
message(STATUS "PyTorch: ${ICTP_TORCH_ROOT}")

add_library(ictp_torch INTERFACE)
add_library(ictp::torch ALIAS ictp_torch)
target_include_directories(ictp_torch SYSTEM INTERFACE
  ${ICTP_TORCH_ROOT}/include ${ICTP_TORCH_ROOT}/include/torch/csrc/api/include)
# headers of PyTorch and of packages beside it put their paths into messages: none of the building machine's in a wheel
cmake_path(GET ICTP_TORCH_ROOT PARENT_PATH ICTP_PACKAGES)
target_compile_options(ictp_torch INTERFACE -ffile-prefix-map=${ICTP_PACKAGES}/=)
# --no-as-needed: libtorch.so is what loads libtorch_cuda.so in a CUDA build, no symbol of it is used directly
target_link_libraries(ictp_torch INTERFACE
  -Wl,--no-as-needed ${ICTP_TORCH_LIB}/libtorch.so -Wl,--as-needed
  ${ICTP_TORCH_LIB}/libtorch_cpu.so ${ICTP_TORCH_LIB}/libc10.so)
