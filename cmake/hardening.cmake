# Flags that make errors in memory harder to exploit. Not under sanitizers, which find these errors and do not
# work with all of the flags. tests/install/hardening_test.py checks command lines and programs for them, by
# the three variables that are set here.

include(CheckCXXCompilerFlag)

# -fPIE for libraries too, not CMAKE_POSITION_INDEPENDENT_CODE: that means -fPIC there, which costs inlining.
set(BACKPLANE_HARDENING_COMPILE -fPIE -fstack-protector-strong)
set(BACKPLANE_HARDENING_LINK -z,relro,-z,now,-z,noexecstack)

# On x86 and some others only.
check_cxx_compiler_flag(-fstack-clash-protection BACKPLANE_HAS_STACK_CLASH_PROTECTION)
if(BACKPLANE_HAS_STACK_CLASH_PROTECTION)
  list(APPEND BACKPLANE_HARDENING_COMPILE -fstack-clash-protection)
endif()
check_cxx_compiler_flag(-fcf-protection=full BACKPLANE_HAS_CF_PROTECTION)
if(BACKPLANE_HAS_CF_PROTECTION)
  list(APPEND BACKPLANE_HARDENING_COMPILE -fcf-protection=full)
endif()

add_compile_options(${BACKPLANE_HARDENING_COMPILE})
add_link_options($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie> LINKER:${BACKPLANE_HARDENING_LINK})

# Bounds of containers are checked.
add_compile_definitions(_GLIBCXX_ASSERTIONS)

# Needs an optimised build. Some compilers predefine it, and warn about another value.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12)
  set(BACKPLANE_HARDENING_FORTIFY -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
else()
  set(BACKPLANE_HARDENING_FORTIFY -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
add_compile_options("$<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:${BACKPLANE_HARDENING_FORTIFY}>")
