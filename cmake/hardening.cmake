# Flags that make errors in memory harder to exploit. Not under sanitizers, which find these errors and do not
# work with all of the flags. tests/install/hardening_test.py checks the program for them.

include(CheckCXXCompilerFlag)

# -fPIE for libraries too, not CMAKE_POSITION_INDEPENDENT_CODE: that means -fPIC there, which costs inlining.
add_compile_options(-fPIE -fstack-protector-strong)
add_link_options($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie> LINKER:-z,relro,-z,now,-z,noexecstack)

# On x86 and some others only.
check_cxx_compiler_flag(-fstack-clash-protection BACKPLANE_HAS_STACK_CLASH_PROTECTION)
if(BACKPLANE_HAS_STACK_CLASH_PROTECTION)
  add_compile_options(-fstack-clash-protection)
endif()
check_cxx_compiler_flag(-fcf-protection=full BACKPLANE_HAS_CF_PROTECTION)
if(BACKPLANE_HAS_CF_PROTECTION)
  add_compile_options(-fcf-protection=full)
endif()

# Bounds of containers are checked.
add_compile_definitions(_GLIBCXX_ASSERTIONS)

# Needs an optimised build. Some compilers predefine it, and warn about another value.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12)
  set(fortify_level 2)
else()
  set(fortify_level 3)
endif()
add_compile_options("$<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=${fortify_level}>")
