# CPack runs this before it packs. `cmake --install --strip` leaves static libraries as they are.
find_program(STRIP strip REQUIRED)
file(GLOB_RECURSE archives "${CPACK_TEMPORARY_DIRECTORY}/*.a")
foreach(archive IN LISTS archives)
  # As dh_strip does: symbols for the linker stay.
  execute_process(COMMAND "${STRIP}" --strip-debug --remove-section=.comment --remove-section=.note
    --enable-deterministic-archives "${archive}" COMMAND_ERROR_IS_FATAL ANY)
endforeach()
