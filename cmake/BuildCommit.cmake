cmake_minimum_required(VERSION 3.25)
# Writes OUTPUT, a source file with the git commit of SOURCE, when it changed: cmake -DSOURCE=… -DOUTPUT=… -DCOMMIT=… -P
# COMMIT names it where there is no git checkout (in an image, say).
set(commit "${COMMIT}")
set(dirty false)
if(commit STREQUAL "")
  execute_process(COMMAND git -C ${SOURCE} rev-parse HEAD OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE
    ERROR_QUIET RESULT_VARIABLE failed)
  if(failed)
    set(commit "")
  else()
    execute_process(COMMAND git -C ${SOURCE} status --porcelain --untracked-files=no OUTPUT_VARIABLE changes
      ERROR_QUIET)
    if(NOT changes STREQUAL "")
      set(dirty true)
    endif()
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT "#include \"trainer/tracking/baseline.h\"

namespace serve::trainer {

const char* BuildCommit() { return \"@commit@\"; }
bool BuildIsDirty() { return @dirty@; }

}  // namespace serve::trainer
")
