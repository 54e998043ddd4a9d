// Linked with a static libarchive, see cmake/Archive.cmake. Its list of formats names every writer, and the
// one of xar is all that needs libxml2, which brings the 36 MB of ICU into an image. This one is found first:
// nobody here writes xar.
#include <archive.h>

extern "C" int archive_write_set_format_xar(struct archive* /*archive*/) { return ARCHIVE_FATAL; }
