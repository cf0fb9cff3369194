// The commit that this binary was built from.
#ifndef MKVM_CLI_BUILD_COMMIT_H_
#define MKVM_CLI_BUILD_COMMIT_H_

namespace mkvm::cli {

// The first 12 digits of the commit, "-dirty" behind it when tracked files
// differed from it; "unknown" when built outside a checkout.
extern const char kBuildCommit[];

}  // namespace mkvm::cli

#endif  // MKVM_CLI_BUILD_COMMIT_H_
