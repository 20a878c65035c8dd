# Manual pages and completions for bash, zsh and fish: the --help of the program that was built writes them
# (docs/decisions/0044).

include(GNUInstallDirs)
set(reference "${PROJECT_BINARY_DIR}/reference")
file(GLOB reference_scripts CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/cli/reference/*.py")
add_custom_command(OUTPUT "${reference}/made"
  COMMAND "${CMAKE_COMMAND}" -E rm -rf "${reference}"
  COMMAND /usr/bin/python3 -B "${PROJECT_SOURCE_DIR}/cli/reference/generate.py" "$<TARGET_FILE:backplane_program>"
    "${PROJECT_VERSION}" "${reference}/share"
  COMMAND "${CMAKE_COMMAND}" -E touch "${reference}/made"
  DEPENDS backplane_program ${reference_scripts}
  COMMENT "Writing manual pages and completions"
  VERBATIM)
add_custom_target(backplane_reference ALL DEPENDS "${reference}/made")
install(DIRECTORY "${reference}/share/" DESTINATION "${CMAKE_INSTALL_DATADIR}" COMPONENT program)
