# How each folder of the tree is built: into a static library, with our warnings as errors and with includes
# written from the top of the tree ("core/topic/topic.hpp").

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

set(BACKPLANE_SANITIZE "" CACHE STRING "Sanitizers: empty, address (with undefined) or thread")
option(BACKPLANE_FUZZ "Build the libFuzzer targets (clang only)" OFF)

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
endif()

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(Protobuf REQUIRED)
find_package(GTest REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
# Debian ships no CMake packages for these.
pkg_check_modules(ZMQ REQUIRED IMPORTED_TARGET libzmq)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
# CMake 3.25 makes folders of -isystem, which libzmq has, include folders when it configures for the first time,
# and plain options later, when it reads pkg-config's output from its cache. Command lines would differ, and
# ccache would not find what another build folder has compiled.
foreach(library IN ITEMS PkgConfig::ZMQ PkgConfig::SODIUM)
  get_target_property(options ${library} INTERFACE_COMPILE_OPTIONS)
  if(options)
    string(REPLACE "-isystem;" "-isystem" options "${options}")
    set(folders ${options})
    list(FILTER folders INCLUDE REGEX "^-isystem")
    list(FILTER options EXCLUDE REGEX "^-isystem")
    list(TRANSFORM folders REPLACE "^-isystem" "")
    set_target_properties(${library} PROPERTIES INTERFACE_COMPILE_OPTIONS "${options}")
    set_property(TARGET ${library} APPEND PROPERTY INTERFACE_INCLUDE_DIRECTORIES ${folders})
  endif()
endforeach()

add_library(backplane_warnings INTERFACE)
target_compile_options(backplane_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
  -Woverloaded-virtual -Wold-style-cast -Wcast-align -Wnull-dereference)
# Not in release builds: at -O3, GCC 12 warns falsely within the standard library (null-dereference, at
# vector::insert), and other versions warn elsewhere. All other builds, CI's among them, must be free of warnings.
target_compile_options(backplane_warnings INTERFACE $<$<NOT:$<CONFIG:Release>>:-Werror>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # At -O3 it mistakes "text" + std::string for a copy of half the address space (GCC bug 105651, fixed in 13).
  target_compile_options(backplane_warnings INTERFACE -Wno-restrict)
endif()

if(BACKPLANE_SANITIZE STREQUAL "address")
  # Without vptr: it reports good objects as broken when a test leaves it no file descriptor, and it reports
  # libraries that were built without it.
  add_compile_options(-fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined
    -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(BACKPLANE_SANITIZE STREQUAL "thread")
  # GCC warns about every atomic_thread_fence under TSan; Asio and spdlog contain some.
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer -Wno-tsan)
  add_link_options(-fsanitize=thread)
elseif(NOT BACKPLANE_SANITIZE STREQUAL "")
  message(FATAL_ERROR "BACKPLANE_SANITIZE: expected address, thread or nothing, got \"${BACKPLANE_SANITIZE}\"")
endif()
if(NOT BACKPLANE_SANITIZE)
  include(hardening)
endif()
if(BACKPLANE_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # These two warn about the sanitizers' own instrumentation.
  target_compile_options(backplane_warnings INTERFACE -Wno-null-dereference -Wno-maybe-uninitialized)
endif()

if(BACKPLANE_FUZZ)
  # Reports to the fuzzer which paths an input takes.
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# Builds all generated sources, for tools that read sources without building them (clang-tidy). Add each target
# that generates sources.
add_custom_target(generated_sources)

# backplane_room(NAME SOURCES file… [DEPENDS target…] [INCLUDE dir…])
# Declares the static library backplane_NAME with the alias backplane::NAME.
function(backplane_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;DEPENDS;INCLUDE" ${ARGN})
  add_library(backplane_${name} STATIC ${ROOM_SOURCES})
  add_library(backplane::${name} ALIAS backplane_${name})
  # An installation has only the public headers (install.cmake).
  target_include_directories(backplane_${name} PUBLIC "$<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>"
    "$<BUILD_INTERFACE:${ROOM_INCLUDE}>")
  target_link_libraries(backplane_${name} PUBLIC ${ROOM_DEPENDS} PRIVATE "$<BUILD_INTERFACE:backplane_warnings>")
  set_target_properties(backplane_${name} PROPERTIES EXPORT_NAME ${name})
endfunction()

# backplane_tests(NAME SOURCES file… DEPENDS target… [LABELS label…] [ENVIRONMENT NAME=value…] [ALONE])
# Declares a GoogleTest program; each of its tests is a test of ctest. ALONE: while one runs, no other test does.
include(GoogleTest)
function(backplane_tests name)
  cmake_parse_arguments(TESTS "ALONE" "" "SOURCES;DEPENDS;LABELS;ENVIRONMENT" ${ARGN})
  add_executable(${name} ${TESTS_SOURCES})
  target_link_libraries(${name} PRIVATE ${TESTS_DEPENDS} GTest::gmock GTest::gtest_main backplane_warnings)
  gtest_discover_tests(${name} TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS "${TESTS_LABELS}" ENVIRONMENT "${TESTS_ENVIRONMENT}" TIMEOUT 120
      RUN_SERIAL "${TESTS_ALONE}")
  # gtest_discover_tests() takes one label only.
  set(script "${CMAKE_CURRENT_BINARY_DIR}/${name}_labels.cmake")
  file(WRITE "${script}" "set_tests_properties(\${${name}_TESTS} PROPERTIES LABELS \"${TESTS_LABELS}\")\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${script}")
endfunction()

# backplane_not_under(SANITIZERS asan|tsan… TESTS test…)
# `./dev test --sanitize` skips the tests under these sanitizers; CONTRIBUTING.md has the rule.
function(backplane_not_under)
  cmake_parse_arguments(NOT "" "" "SANITIZERS;TESTS" ${ARGN})
  list(TRANSFORM NOT_SANITIZERS PREPEND "not_")
  set_property(TEST ${NOT_TESTS} APPEND PROPERTY LABELS ${NOT_SANITIZERS})
endfunction()
