// What a person sees of <think>...</think> in a text that comes in pieces.
#ifndef MKVM_CLI_THOUGHT_VIEW_H_
#define MKVM_CLI_THOUGHT_VIEW_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mkvm::cli {

enum class ThoughtMode : uint8_t { kShow, kDim, kHide };
// "show", "dim", "hide". InvalidArgument for others.
absl::StatusOr<ThoughtMode> ParseThoughtMode(absl::string_view name);

class ThoughtView {
 public:
  // `out` gets what is to be shown, and on a `terminal` what dims it and says
  // that the model is thinking. Without a terminal dimmed text is shown as it
  // is.
  ThoughtView(ThoughtMode mode, bool terminal,
              std::function<void(absl::string_view)> out);

  void Push(absl::string_view text);
  // The end of the text: shows what was held back, undoes the dimming.
  void Finish();

 private:
  void Show(absl::string_view text);
  void Enter();
  void Leave();

  ThoughtMode mode_;
  bool terminal_;
  std::function<void(absl::string_view)> out_;
  bool thinking_ = false;
  bool at_start_ = false;  // of what follows a hidden thought
  std::string held_back_;  // could become a tag
};

// `text` with a thought that was cut off brought to its end, so that the chat
// template finds where it ends.
std::string CloseThought(std::string text);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_THOUGHT_VIEW_H_
