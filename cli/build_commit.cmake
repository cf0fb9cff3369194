# cmake -DSOURCE=FOLDER -DOUT=FILE.cc -P build_commit.cmake: writes the commit
# of a checkout as a C++ constant. Leaves the file alone when it is right, so
# that nothing is built again.
set(commit "unknown")
execute_process(
  COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD
  OUTPUT_VARIABLE head OUTPUT_STRIP_TRAILING_WHITESPACE
  ERROR_QUIET RESULT_VARIABLE failed)
# A copy inside somebody else's checkout is none.
execute_process(
  COMMAND git -C ${SOURCE} rev-parse --show-prefix
  OUTPUT_VARIABLE prefix OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT failed AND NOT prefix)
  set(commit ${head})
  execute_process(
    COMMAND git -C ${SOURCE} status --porcelain --untracked-files=no
    OUTPUT_VARIABLE changes ERROR_QUIET)
  if(changes)
    string(APPEND commit "-dirty")
  endif()
endif()
set(text "#include \"cli/build_commit.h\"\n
namespace mkvm::cli {\n
const char kBuildCommit[] = \"${commit}\";\n
}  // namespace mkvm::cli\n")
set(old "")
if(EXISTS ${OUT})
  file(READ ${OUT} old)
endif()
if(NOT old STREQUAL text)
  file(WRITE ${OUT} "${text}")
endif()
