# Third-party libraries. A room links what its line in ARCHITECTURE.md allows; the target names below are the walls.
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED)        # Asio, Beast, System's result: headers only
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(simdjson REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(CURL REQUIRED)
find_package(LibArchive REQUIRED)
include(${CMAKE_CURRENT_LIST_DIR}/Archive.cmake)
find_package(OpenSSL REQUIRED)
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_path(WEBP_INCLUDE_DIR webp/decode.h REQUIRED)
find_library(WEBP_LIBRARY webp REQUIRED)
find_path(UTF8PROC_INCLUDE_DIR utf8proc.h REQUIRED)
find_library(UTF8PROC_LIBRARY utf8proc REQUIRED)
find_package(ZLIB REQUIRED)
find_package(CLI11 REQUIRED)
find_package(yaml-cpp REQUIRED)
if(FLAMBEAU_TESTS)
  find_package(GTest REQUIRED)
endif()

add_library(flambeau_yaml INTERFACE)  # the name of its target changed with version 0.8
target_link_libraries(flambeau_yaml INTERFACE $<IF:$<TARGET_EXISTS:yaml-cpp::yaml-cpp>,yaml-cpp::yaml-cpp,yaml-cpp>)

add_library(flambeau_boost INTERFACE)
target_link_libraries(flambeau_boost INTERFACE Boost::headers Threads::Threads)
# No separate compilation of Asio; its old names stay out of reach.
target_compile_definitions(flambeau_boost INTERFACE BOOST_ASIO_NO_DEPRECATED)

# malloc for the server: every request allocates on one thread what another one frees, which glibc's arenas do
# slowly. Without it (or under a sanitizer, which brings its own) everything works with the system's.
if(NOT FLAMBEAU_SANITIZE)
  find_package(mimalloc QUIET)
endif()
add_library(flambeau_malloc INTERFACE)
if(TARGET mimalloc)
  target_link_libraries(flambeau_malloc INTERFACE mimalloc)
else()
  message(STATUS "mimalloc: not used")
endif()

add_library(flambeau_webp INTERFACE)
target_include_directories(flambeau_webp SYSTEM INTERFACE ${WEBP_INCLUDE_DIR})
target_link_libraries(flambeau_webp INTERFACE ${WEBP_LIBRARY})
add_library(flambeau_utf8proc INTERFACE)
target_include_directories(flambeau_utf8proc SYSTEM INTERFACE ${UTF8PROC_INCLUDE_DIR})
target_link_libraries(flambeau_utf8proc INTERFACE ${UTF8PROC_LIBRARY})

if(FLAMBEAU_TORCH)
  if(DEFINED ENV{LIBTORCH})
    list(PREPEND CMAKE_PREFIX_PATH $ENV{LIBTORCH})
  endif()
  list(APPEND CMAKE_PREFIX_PATH ${CMAKE_SOURCE_DIR}/build/libtorch)  # where ./run setup puts it
  find_package(Torch REQUIRED)
  # Programs look for shared libraries in ../lib/flambeau first, so that they and libtorch can be moved together
  # (deploy/images/tree), then where libtorch lies here. The same in the build folder and installed: CMake would
  # otherwise reserve space with an empty entry, which means the working folder. The older kind of entry holds for the
  # libraries of libraries, too.
  get_filename_component(torch_folder ${TORCH_LIBRARY} DIRECTORY)
  set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
  set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib/flambeau;$ORIGIN;${torch_folder}")
  set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
  add_link_options(-Wl,--disable-new-dtags)
  # SYSTEM keeps our warnings out of its headers.
  add_library(flambeau_torch INTERFACE)
  target_include_directories(flambeau_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
  target_link_libraries(flambeau_torch INTERFACE ${TORCH_LIBRARIES})
  # libtorch brings headers of an fmt of its own, of another version than the library that we link.
  target_compile_definitions(flambeau_torch INTERFACE FMT_HEADER_ONLY=1)
  # at::parallel_for is a header; it must meet the OpenMP that libtorch itself uses, which may lie beside it.
  file(GLOB FLAMBEAU_OPENMP ${torch_folder}/libgomp*.so*)
  list(APPEND FLAMBEAU_OPENMP gomp)
  list(GET FLAMBEAU_OPENMP 0 FLAMBEAU_OPENMP)
endif()
