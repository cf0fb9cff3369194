#include "tests/cli/subprocess.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace mkvm {
namespace {

namespace fs = std::filesystem;

// Everything a child does between fork and exec is async-signal-safe: the
// strings are laid out before.
void BecomeMkvm(char* const* argv, char* const* envp, const char* in,
                const char* out, const char* err) {
  const int files[] = {::open(in, O_RDONLY),
                       ::open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600),
                       ::open(err, O_WRONLY | O_CREAT | O_TRUNC, 0600)};
  for (int i = 0; i < 3; ++i) {
    if (files[i] < 0 || ::dup2(files[i], i) < 0) ::_exit(126);
  }
  ::execve(argv[0], argv, envp);
  ::_exit(127);
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Outcome RunMkvm(const std::vector<std::string>& args,
                const std::vector<std::string>& environment,
                const std::string& stdin_path) {
  const std::string out = TestFolder() + "/.stdout";
  const std::string err = TestFolder() + "/.stderr";
  std::vector<std::string> argv = {MKVM_BINARY_DIR "/mkvm"};
  argv.insert(argv.end(), args.begin(), args.end());
  std::vector<std::string> env = environment;
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string entry = *e;
    if (entry.rfind("MKVM_MODEL=", 0) != 0 && entry.rfind("HF_", 0) != 0 &&
        entry.rfind("HOME=", 0) != 0) {
      env.push_back(entry);
    }
  }
  env.push_back("HOME=" + TestFolder());
  const std::vector<char*> argv_pointers = Pointers(argv);
  const std::vector<char*> env_pointers = Pointers(env);

  const pid_t child = ::fork();
  if (child == 0) {
    BecomeMkvm(argv_pointers.data(), env_pointers.data(), stdin_path.c_str(),
               out.c_str(), err.c_str());
  }
  Outcome outcome;
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) {
    ADD_FAILURE() << "cannot run " << argv[0];
    return outcome;
  }
  outcome.exit_code =
      WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.out = ReadText(out);
  outcome.err = ReadText(err);
  return outcome;
}

std::string TestFolder() {
  const testing::TestInfo* test =
      testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(test->test_suite_name()) + "." + test->name();
  for (char& c : name) {
    if (c == '/') c = '_';
  }
  // Named after the process too: a test may run in several builds at once.
  static std::vector<std::string>* made = new std::vector<std::string>();
  const std::string folder =
      testing::TempDir() + "mkvm." + name + "." + std::to_string(::getpid());
  if (made->empty() || made->back() != folder) {
    fs::remove_all(folder);
    fs::create_directories(folder);
    made->push_back(folder);
    std::atexit([] {
      for (const std::string& f : *made) fs::remove_all(f);
      made->clear();
    });
  }
  return folder;
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  EXPECT_TRUE(file.good()) << path;
}

std::string SharedFolder() {
  const char* given = std::getenv("MKVM_SHARED");
  const std::string folder =
      given != nullptr ? given : MKVM_SOURCE_DIR "/../shared";
  return fs::exists(folder + "/reference") ? folder : "";
}

}  // namespace mkvm
