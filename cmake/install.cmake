# What `cmake --install` installs in addition to the program (cli/CMakeLists.txt): the two libraries that other
# programs link, with their headers, for find_package(backplane) and for pkg-config.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME dev)  # of packages.cmake

# client and publisher, and the libraries that these depend on.
set(installed_rooms proto core credentials payload follower client publisher)
list(TRANSFORM installed_rooms PREPEND backplane_ OUTPUT_VARIABLE installed_targets)
install(TARGETS ${installed_targets} EXPORT backplaneTargets
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")

foreach(room IN ITEMS core follower clients publishers)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/${room}/include/backplane" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
endforeach()
# The event types in C++, and all .proto files for other languages.
install(DIRECTORY "${PROJECT_BINARY_DIR}/proto/generated/backplane/events"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/backplane" FILES_MATCHING PATTERN "*.pb.h")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/proto/backplane" DESTINATION "${CMAKE_INSTALL_DATADIR}/backplane/proto"
  FILES_MATCHING PATTERN "*.proto")

set(config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/backplane")
install(EXPORT backplaneTargets NAMESPACE backplane:: DESTINATION "${config_dir}")
configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/backplaneConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/backplaneConfig.cmake" INSTALL_DESTINATION "${config_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/backplaneConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/backplaneConfig.cmake" "${PROJECT_BINARY_DIR}/backplaneConfigVersion.cmake"
  DESTINATION "${config_dir}")

# Paths relative to the .pc files: an installation can be moved.
file(RELATIVE_PATH pc_prefix "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
foreach(library IN ITEMS client publisher)
  set(pc_name "backplane-${library}")
  if(library STREQUAL "client")
    set(pc_description "Read from a backplane: events in order, without duplicates, and with every loss announced")
    set(pc_libs "-lbackplane_client -lbackplane_follower -lbackplane_payload -lbackplane_credentials")
  else()
    set(pc_description "Publish to a backplane: events are numbered, and kept until the broker has admitted them")
    set(pc_libs "-lbackplane_publisher -lbackplane_credentials")
  endif()
  configure_file("${CMAKE_CURRENT_LIST_DIR}/backplane.pc.in" "${PROJECT_BINARY_DIR}/${pc_name}.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/${pc_name}.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endforeach()
