// Stop strings in a text that comes in pieces.
#ifndef MKVM_CLI_STOP_MATCHER_H_
#define MKVM_CLI_STOP_MATCHER_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace mkvm::cli {

class StopMatcher {
 public:
  // REQUIRES: no empty string among them.
  explicit StopMatcher(std::vector<std::string> stops)
      : stops_(std::move(stops)) {}

  // The text that may be shown once `piece` has come: nothing of a stop string,
  // and nothing that could still become the beginning of one. "" once stopped.
  std::string Push(absl::string_view piece);
  // What was held back and has become no stop string.
  std::string Finish();

  bool stopped() const { return !match_.empty(); }
  // The stop string that came first, or "".
  const std::string& match() const { return match_; }

 private:
  std::vector<std::string> stops_;
  std::string held_back_;
  std::string match_;
};

}  // namespace mkvm::cli

#endif  // MKVM_CLI_STOP_MATCHER_H_
