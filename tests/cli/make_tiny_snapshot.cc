// make_tiny_snapshot DIR: the snapshot that the tests of generate and chat use.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/cli/tiny_snapshot.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: make_tiny_snapshot DIR\n", stderr);
    return 2;
  }
  mkvm::WriteTinySnapshot(argv[1]);
  return testing::Test::HasFatalFailure() ? 1 : 0;
}
