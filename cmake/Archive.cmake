# flambeau_archive: libarchive. Debian's and Ubuntu's shared library needs libxml2 and with it ICU, 36 MB that no format of
# ours uses. So the static one, which the same package has, is linked into programs and the runtime library, with the shared
# libraries that are left. Where that does not link (no static library, other dependencies), the shared one serves as well.
option(FLAMBEAU_STATIC_ARCHIVE "Link libarchive statically, without libxml2, where that is possible" ON)

set(no_xar ${CMAKE_CURRENT_LIST_DIR}/../model_store/archive/no_xar.cc)
get_filename_component(archive_folder ${LibArchive_LIBRARY} DIRECTORY)
set(archive_static ${archive_folder}/libarchive.a)
# Those that the shared library needs are there; the packages with their headers may not be.
foreach(name IN ITEMS libnettle.so.8 liblzma.so.5 libzstd.so.1 libbz2.so.1.0 libz.so.1)
  if(EXISTS ${archive_folder}/${name})
    list(APPEND archive_static ${archive_folder}/${name})
  endif()
endforeach()

if(FLAMBEAU_STATIC_ARCHIVE AND NOT DEFINED FLAMBEAU_STATIC_ARCHIVE_LINKS)
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
  # As a shared library, for the runtime library is one.
  try_compile(FLAMBEAU_STATIC_ARCHIVE_LINKS
    SOURCE_FROM_CONTENT check.cc "#include <archive.h>
      void Check(archive* a, archive_entry* e) {
        archive_read_support_format_zip_seekable(a), archive_read_support_format_tar(a);
        archive_read_support_filter_gzip(a), archive_read_open_filename(a, \"\", 1), archive_read_next_header(a, &e);
        archive_write_set_format_zip(a), archive_write_set_format_gnutar(a), archive_write_add_filter_gzip(a);
        archive_write_set_format_option(a, \"\", \"\", \"\"), archive_write_open_fd(a, 1), archive_write_header(a, e);
      }"
    SOURCES ${no_xar}
    CMAKE_FLAGS -DINCLUDE_DIRECTORIES=${LibArchive_INCLUDE_DIR}
    LINK_OPTIONS -shared -Wl,-z,defs
    LINK_LIBRARIES ${archive_static}
    OUTPUT_VARIABLE archive_output)
  unset(CMAKE_POSITION_INDEPENDENT_CODE)
  if(NOT FLAMBEAU_STATIC_ARCHIVE_LINKS)
    message(VERBOSE "${archive_output}")
  endif()
endif()

if(FLAMBEAU_STATIC_ARCHIVE AND FLAMBEAU_STATIC_ARCHIVE_LINKS)
  add_library(flambeau_archive STATIC ${no_xar})
  set_target_properties(flambeau_archive PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_include_directories(flambeau_archive SYSTEM PUBLIC ${LibArchive_INCLUDE_DIR})
  # -u: ours is taken before the list of formats asks for it.
  target_link_options(flambeau_archive INTERFACE
    LINKER:-u,archive_write_set_format_xar LINKER:--exclude-libs,libarchive.a)
  target_link_libraries(flambeau_archive INTERFACE ${archive_static})
else()
  message(STATUS "libarchive: the shared library")
  add_library(flambeau_archive INTERFACE)
  target_link_libraries(flambeau_archive INTERFACE LibArchive::LibArchive)
endif()
