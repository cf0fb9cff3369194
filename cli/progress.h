// A progress bar on stderr: drawn only on a terminal, one line otherwise.
#ifndef MKVM_CLI_PROGRESS_H_
#define MKVM_CLI_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace mkvm::cli {

class Progress {
 public:
  // `what`: "loading weights". `total_bytes`: the amount that is 100 %.
  Progress(absl::string_view what, uint64_t total_bytes);
  void Advance(uint64_t bytes);
  // Ends with a line such as "loading weights: 1192 MB in 0.8 s".
  void Done();

 private:
  void Draw();

  std::string what_;
  uint64_t total_bytes_;
  uint64_t done_bytes_ = 0;
  bool terminal_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point drawn_;
};

}  // namespace mkvm::cli

#endif  // MKVM_CLI_PROGRESS_H_
