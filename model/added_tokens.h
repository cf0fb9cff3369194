// Tokens that are found in a text as they are, before it is split into words:
// "<|im_start|>", "<think>". Private to model/.
#ifndef MKVM_MODEL_ADDED_TOKENS_H_
#define MKVM_MODEL_ADDED_TOKENS_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace mkvm::model {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool is_special = false;     // left out of text when that is asked for
  bool is_normalized = false;  // looked for in normalised text, not in raw
};

// Finds the tokens of a set. Thread-safe once made.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  // Tokens with empty content are left out: nothing is made of them.
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  // Calls `piece` with the stretches of `text` that are no token (id -1) and
  // with the tokens (their id), in order; together they are `text`. The
  // leftmost token wins, and of those that begin there the longest. Stops at
  // the first error of `piece` and returns it.
  absl::Status Split(
      absl::string_view text,
      absl::FunctionRef<absl::Status(absl::string_view, int32_t)> piece) const;

  bool empty() const { return tokens_.empty(); }

 private:
  // The longest token that `text` begins with, or null.
  const AddedToken* Match(absl::string_view text) const;

  std::vector<AddedToken> tokens_;  // by first byte, then the longest first
  // Of each first byte: its tokens are tokens_[begin_[b]] to [begin_[b + 1]].
  std::array<uint32_t, 257> begin_ = {};
};

}  // namespace mkvm::model

#endif  // MKVM_MODEL_ADDED_TOKENS_H_
