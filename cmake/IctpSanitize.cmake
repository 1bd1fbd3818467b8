# SPDX-License-Identifier: GPL-2.0-only
# ICTP_SANITIZE: everything compiled here under sanitizers of GCC or Clang. What comes from elsewhere (PyTorch, Python,
# LAMMPS) is not: whoever loads the libraries needs the sanitizer's own in LD_PRELOAD, as tests/cpp/sanitized.py has it.
# Sets ICTP_THREAD_HEADER, ICTP_THREAD_SOURCE and ICTP_KERNEL_SANITIZE, for the operators.
set(ICTP_SANITIZE "" CACHE STRING "sanitizers, as -fsanitize takes them: address,undefined or thread; empty: none")
if(ICTP_SANITIZE)
  add_compile_options(-fsanitize=${ICTP_SANITIZE} -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=${ICTP_SANITIZE})
  message(STATUS "Sanitizers: ${ICTP_SANITIZE}")
endif()
if(ICTP_SANITIZE MATCHES "undefined")
  # before each access to memory: three times as long to compile the kernels' templates, for what `address` sees too
  set(ICTP_KERNEL_SANITIZE -fno-sanitize=null,alignment,pointer-overflow)
endif()
if(ICTP_SANITIZE MATCHES "thread")
  # ThreadSanitizer does not see how OpenMP's threads wait for each other: ATen's loops take std::thread there
  set(ICTP_THREAD_HEADER ${CMAKE_CURRENT_SOURCE_DIR}/tests/cpp/plain_threads.h)
  set(ICTP_THREAD_SOURCE ${CMAKE_CURRENT_SOURCE_DIR}/tests/cpp/plain_threads.cpp)
endif()
