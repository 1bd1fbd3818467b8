# SPDX-License-Identifier: GPL-2.0-only
# Targets ictp::lammps (headers only: LAMMPS itself provides the symbols when it loads the plugin) and ictp::mpi;
# ICTP_LAMMPS_VERSION, the date LAMMPS compares with its own.
set(ICTP_LAMMPS_SIZES smallbig CACHE STRING "integer sizes LAMMPS was built with (its LAMMPS_SIZES): smallbig or bigbig")
set_property(CACHE ICTP_LAMMPS_SIZES PROPERTY STRINGS smallbig bigbig)
if(NOT ICTP_LAMMPS_SIZES MATCHES "^(smallbig|bigbig)$")
  message(FATAL_ERROR "ICTP_LAMMPS_SIZES: expected smallbig or bigbig, got '${ICTP_LAMMPS_SIZES}'")
endif()

add_library(ictp_lammps INTERFACE)
add_library(ictp::lammps ALIAS ictp_lammps)
add_library(ictp_mpi INTERFACE)
add_library(ictp::mpi ALIAS ictp_mpi)

if(LAMMPS_SOURCE_DIR)
  find_path(ICTP_LAMMPS_INCLUDE pair.h PATHS ${LAMMPS_SOURCE_DIR} PATH_SUFFIXES src NO_DEFAULT_PATH REQUIRED)
  file(STRINGS ${ICTP_LAMMPS_INCLUDE}/version.h line REGEX "define LAMMPS_VERSION")
  string(REGEX REPLACE ".*\"(.*)\".*" "\\1" ICTP_LAMMPS_VERSION "${line}")
  find_package(MPI REQUIRED COMPONENTS CXX)
  target_link_libraries(ictp_mpi INTERFACE MPI::MPI_CXX)
else()
  # One line each: LAMMPS' headers, its date, mpi.h's folder, libmpi. LAMMPS is not imported: that would load it.
  execute_process(
    COMMAND ${Python_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/find_lammps.py
    OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE status ERROR_VARIABLE reason)
  if(status)
    message(FATAL_ERROR "LAMMPS with MPI not found in ${Python_EXECUTABLE}: ${reason}"
                        "Install lammps[mpi] there, or give -D LAMMPS_SOURCE_DIR=<LAMMPS source tree>")
  endif()
  string(REPLACE "\n" ";" found "${found}")
  list(POP_FRONT found ICTP_LAMMPS_INCLUDE ICTP_LAMMPS_VERSION mpi_include mpi_library)
  target_include_directories(ictp_mpi SYSTEM INTERFACE ${mpi_include})
  target_link_libraries(ictp_mpi INTERFACE ${mpi_library})
endif()
target_include_directories(ictp_lammps SYSTEM INTERFACE ${ICTP_LAMMPS_INCLUDE})
string(TOUPPER "LAMMPS_${ICTP_LAMMPS_SIZES}" sizes)
target_compile_definitions(ictp_lammps INTERFACE ${sizes})
message(STATUS "LAMMPS: ${ICTP_LAMMPS_VERSION}, ${ICTP_LAMMPS_INCLUDE}")
