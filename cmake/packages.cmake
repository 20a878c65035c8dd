# Debian packages: `cpack --config CPackConfig.cmake` in a build folder puts three into its folder packages/ (./dev
# package builds for release before). docs/decisions/0044 says what goes where. What only packages have is installed
# to absolute paths and EXCLUDE_FROM_ALL: `cmake --install` installs it nowhere.

include(GNUInstallDirs)
set(packaging "${PROJECT_SOURCE_DIR}/packaging/debian")
set(packaged "${PROJECT_BINARY_DIR}/packaging")
set(doc "share/doc")

# ── files for operators ────────────────────────────────────────────────────────────────────────────────────

install(DIRECTORY "${PROJECT_SOURCE_DIR}/config/monitoring" DESTINATION "${CMAKE_INSTALL_DATADIR}/backplane"
  COMPONENT program)
install(FILES "${PROJECT_SOURCE_DIR}/config/backplane.toml" DESTINATION /etc/backplane COMPONENT program
  EXCLUDE_FROM_ALL)
# For the files of the instances of backplane-publish@.service and backplane-link@.service.
foreach(folder IN ITEMS publish link)
  install(DIRECTORY DESTINATION /etc/backplane/${folder} COMPONENT program EXCLUDE_FROM_ALL)
endforeach()
install(FILES "${PROJECT_SOURCE_DIR}/config/systemd/backplane.sysusers" DESTINATION /usr/lib/sysusers.d
  RENAME backplane.conf COMPONENT program EXCLUDE_FROM_ALL)
file(GLOB units CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/config/systemd/*.service")
foreach(unit IN LISTS units)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${unit}")
  # In the source tree they have the path of `cmake --install`.
  file(READ "${unit}" text)
  string(REPLACE "/usr/local/bin/" "/usr/bin/" text "${text}")
  get_filename_component(name "${unit}" NAME)
  file(CONFIGURE OUTPUT "${packaged}/systemd/${name}" CONTENT "${text}" @ONLY)
  install(FILES "${packaged}/systemd/${name}" DESTINATION /lib/systemd/system COMPONENT program EXCLUDE_FROM_ALL)
endforeach()

# ── Python ─────────────────────────────────────────────────────────────────────────────────────────────────

install(DIRECTORY "${PROJECT_SOURCE_DIR}/clients/python/backplane" "${PROJECT_BINARY_DIR}/proto/python/backplane"
  DESTINATION /usr/lib/python3/dist-packages COMPONENT python EXCLUDE_FROM_ALL
  FILES_MATCHING PATTERN "*.py" PATTERN "*.pyi" PATTERN "py.typed" PATTERN "__pycache__" EXCLUDE)

# ── documentation ──────────────────────────────────────────────────────────────────────────────────────────

# Without name and time: the same bytes each time.
function(compress source target)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${source}")
  get_filename_component(folder "${target}" DIRECTORY)
  file(MAKE_DIRECTORY "${folder}")
  execute_process(COMMAND gzip -9n INPUT_FILE "${source}" OUTPUT_FILE "${target}" COMMAND_ERROR_IS_FATAL ANY)
endfunction()

compress("${packaging}/changelog" "${packaged}/changelog.Debian.gz")
compress("${PROJECT_SOURCE_DIR}/CHANGELOG.md" "${packaged}/changelog.gz")
foreach(component IN ITEMS program dev python)
  set(package_program backplane)
  set(package_dev libbackplane-dev)
  set(package_python python3-backplane)
  install(FILES "${packaging}/copyright" "${packaged}/changelog.Debian.gz" "${packaged}/changelog.gz"
    DESTINATION "/usr/${doc}/${package_${component}}" COMPONENT ${component} EXCLUDE_FROM_ALL)
endforeach()
install(FILES "${PROJECT_SOURCE_DIR}/README.md" "${PROJECT_SOURCE_DIR}/SECURITY.md" DESTINATION "/usr/${doc}/backplane"
  COMPONENT program EXCLUDE_FROM_ALL)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/docs" DESTINATION "/usr/${doc}/backplane" COMPONENT program EXCLUDE_FROM_ALL)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/examples" DESTINATION "/usr/${doc}/libbackplane-dev" COMPONENT dev
  EXCLUDE_FROM_ALL)

# ── CPack ──────────────────────────────────────────────────────────────────────────────────────────────────

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_DIRECTORY "${PROJECT_BINARY_DIR}/packages")
set(CPACK_PACKAGE_VENDOR "Backplane")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")  # or it is the first line of each description below
set(CPACK_PACKAGE_CONTACT "Backplane maintainers <maintainers@backplane.invalid>")
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS "${CMAKE_CURRENT_LIST_DIR}/strip_archives.cmake")
if(CMAKE_BUILD_TYPE STREQUAL "Release")  # others are packed by tests, which do not wait for it
  set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
endif()
set(CPACK_COMPONENTS_ALL program dev python)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
# The newest entry of the change log has the same version, or tests/install/packages_test.py fails.
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
# Control files have the modes that Debian requires, whatever the umask.
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME backplane)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_DEPENDS
  "init-system-helpers (>= 1.60), systemd | systemd-standalone-sysusers | systemd-sysusers")
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SUGGESTS "python3-backplane, libbackplane-dev, prometheus")
set(CPACK_DEBIAN_PROGRAM_DESCRIPTION "publish/subscribe broker and gateway
Publishers send events to a broker, and any number of subscribers receive
each event the moment it is published. Every event is numbered: a subscriber
can tell when it has missed one, and recovers it from the broker's history.
Losses are counted and announced.
.
This package has the program: broker, gateway (nc, curl, browsers,
WebSocket), publishers and commands, with services for systemd, alert rules
for Prometheus and a dashboard for Grafana.")
set(CPACK_DEBIAN_PROGRAM_PACKAGE_CONTROL_EXTRA
  "${packaging}/backplane/conffiles;${packaging}/backplane/postinst;${packaging}/backplane/prerm;${packaging}/backplane/postrm")

set(CPACK_DEBIAN_DEV_PACKAGE_NAME libbackplane-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS
  "libexpected-dev, libfmt-dev, libprotobuf-dev, libsodium-dev, libspdlog-dev, libtomlplusplus-dev, libzmq3-dev, pkg-config")
set(CPACK_DEBIAN_DEV_PACKAGE_SUGGESTS "backplane, protobuf-compiler")
set(CPACK_DEBIAN_DEV_DESCRIPTION "publish/subscribe broker - libraries for C++
Two static libraries, for find_package(backplane) and pkg-config: one that
reads events in order, without duplicates and with every loss announced, and
one that publishes events and keeps them until the broker has admitted them.
.
The package also has the .proto files of the protocol, for other languages.")

set(CPACK_DEBIAN_PYTHON_PACKAGE_NAME python3-backplane)
set(CPACK_DEBIAN_PYTHON_PACKAGE_SECTION python)
set(CPACK_DEBIAN_PYTHON_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_PYTHON_PACKAGE_DEPENDS "python3:any, python3-protobuf (>= 3.21), python3-zmq")
set(CPACK_DEBIAN_PYTHON_PACKAGE_SUGGESTS "backplane")
set(CPACK_DEBIAN_PYTHON_DESCRIPTION "publish/subscribe broker - client for Python
Subscribe, publish, and read retained values and history. Missed events are
recovered from the broker's history, and losses are reported. The types of
all events are included.")
set(CPACK_DEBIAN_PYTHON_PACKAGE_CONTROL_EXTRA
  "${packaging}/python3-backplane/postinst;${packaging}/python3-backplane/prerm")

include(CPack)

# What the packages are made of, without tests and benchmarks.
add_custom_target(backplane_packaged DEPENDS backplane_program backplane_reference backplane_proto_python
  ${installed_targets})
