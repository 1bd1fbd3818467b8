# SPDX-License-Identifier: GPL-2.0-only
# ICTP_SANITIZE: everything compiled here under sanitizers of GCC or Clang. What comes from elsewhere (PyTorch, Python,
# LAMMPS) is not: whoever loads the libraries needs the sanitizer's own in LD_PRELOAD, as tests/cpp/sanitized.py has it.
# Sets ICTP_THREAD_HEADER, ICTP_THREAD_SOURCE and ICTP_KERNEL_SANITIZE, for the operators.
set(ICTP_SANITIZE "" CACHE STRING "sanitizers, as -fsanitize takes them: address,undefined or thread; empty: none")
if(ICTP_SANITIZE)
  add_compile_options(-fsanitize=${ICTP_SANITIZE} -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=${ICTP_SANITIZE})
  # what nobody set is a number out of all range, so that a test of the result fails: GCC sees no use of it
  include(CheckCXXCompilerFlag)
  check_cxx_compiler_flag(-ftrivial-auto-var-init=pattern ICTP_HAS_PATTERN)
  if(ICTP_HAS_PATTERN)
    add_compile_options(-ftrivial-auto-var-init=pattern)
  endif()
  message(STATUS "Sanitizers: ${ICTP_SANITIZE}")
endif()
if(ICTP_SANITIZE MATCHES "undefined")
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # as a shared library it takes the log_path of its reports for ASan's, and its own go to a stderr that nobody reads
    add_link_options(-static-libubsan -Wl,--exclude-libs,libubsan.a)
  endif()
  # before each access to memory: three times as long to compile the kernels' templates, for what `address` sees too
  set(ICTP_KERNEL_SANITIZE -fno-sanitize=null,alignment,pointer-overflow)
endif()
if(ICTP_SANITIZE MATCHES "thread")
  # ThreadSanitizer does not see how OpenMP's threads wait for each other: ATen's loops take std::thread there
  set(ICTP_THREAD_HEADER ${CMAKE_CURRENT_SOURCE_DIR}/tests/cpp/plain_threads.h)
  set(ICTP_THREAD_SOURCE ${CMAKE_CURRENT_SOURCE_DIR}/tests/cpp/plain_threads.cpp)
endif()
