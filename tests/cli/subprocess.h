// Runs the built mkvm as a user would: arguments in, exit code, stdout and
// stderr out.
#ifndef MKVM_TESTS_CLI_SUBPROCESS_H_
#define MKVM_TESTS_CLI_SUBPROCESS_H_

#include <string>
#include <vector>

namespace mkvm {

struct Outcome {
  int exit_code = -1;  // 128 + signal when killed
  std::string out;
  std::string err;
};

// `environment`: "NAME=value" on top of the test's own. Neither $MKVM_MODEL nor
// a HuggingFace cache of this machine is seen by the child.
Outcome RunMkvm(const std::vector<std::string>& args,
                const std::vector<std::string>& environment = {},
                const std::string& stdin_path = "/dev/null");

// A fresh folder of the running test.
std::string TestFolder();
std::string ReadText(const std::string& path);
void WriteText(const std::string& path, const std::string& text);

// The folder of shared reference data ($MKVM_SHARED, else ../shared beside the
// sources), or "" when it is not there.
std::string SharedFolder();

}  // namespace mkvm

#endif  // MKVM_TESTS_CLI_SUBPROCESS_H_
