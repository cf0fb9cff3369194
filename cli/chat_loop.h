// The loop of `mkvm chat`: lines in, answers and what commands say out.
#ifndef MKVM_CLI_CHAT_LOOP_H_
#define MKVM_CLI_CHAT_LOOP_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "cli/completion.h"
#include "cli/conversation.h"
#include "cli/line_reader.h"
#include "cli/text_session.h"
#include "cli/thought_view.h"

namespace mkvm::cli {

struct ChatOptions {
  TextFlags text;
  ThoughtMode thoughts = ThoughtMode::kDim;
  bool terminal = false;  // stdout is one
  bool stats = true;      // a line on stderr after every answer
};

class ChatLoop {
 public:
  // REQUIRES: all outlive it, and the session has started.
  ChatLoop(const ChatOptions& options, TextSession& session,
           Conversation& conversation)
      : options_(options), session_(session), conversation_(conversation) {}

  // Until the person leaves. Errors: the machine's. What a person can mend is
  // said on stderr and the loop goes on.
  absl::Status Run(LineReader& reader);

 private:
  struct Command;
  static const Command kCommands[];

  // A line that begins with a slash. False: the person leaves.
  bool Obey(absl::string_view line);
  absl::Status Answer(const std::string& message);
  // The prompt, with room for an answer behind it. Empty when there is none,
  // and then it has said so.
  absl::StatusOr<std::vector<int32_t>> PromptWithRoom();
  absl::StatusOr<CompletionRequest::Room> MakeRoom(
      absl::Span<const int32_t> answer);
  absl::StatusOr<Completion> Complete(std::vector<int32_t> prompt);
  absl::Status WarnWhenNearlyFull();

  // Commands: what they have to say, "" for nothing.
  std::string Help(const std::string& argument);
  std::string Reset(const std::string& argument);
  std::string System(const std::string& argument);
  std::string Think(const std::string& argument);
  std::string Stats(const std::string& argument);
  std::string Save(const std::string& argument);
  std::string Load(const std::string& argument);

  const ChatOptions& options_;
  TextSession& session_;
  Conversation& conversation_;
  std::optional<Completion> last_;
  int64_t answers_ = 0;
  int64_t answer_tokens_ = 0;
  bool warned_ = false;
};

}  // namespace mkvm::cli

#endif  // MKVM_CLI_CHAT_LOOP_H_
