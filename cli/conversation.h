// A conversation as messages, and as the tokens that the model sees of it.
#ifndef MKVM_CLI_CONVERSATION_H_
#define MKVM_CLI_CONVERSATION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/chat_template.h"
#include "model/tokenizer.h"
#include "nlohmann/json.hpp"

namespace mkvm::cli {

class Conversation {
 public:
  // REQUIRES: `tokenizer` outlives it.
  Conversation(const model::Tokenizer& tokenizer,
               const model::ChatTemplate& chat_template)
      : tokenizer_(tokenizer), template_(chat_template) {}

  // In front of all; "": none.
  void SetSystem(const std::string& text);
  void Add(absl::string_view role, const std::string& text);
  void RemoveLast();
  // Forgets everything but the system message.
  void Reset();
  // Forgets the oldest message of the user and what answered it, the system
  // message and the latest of the user aside. False: there is no such.
  bool DropOldestTurn();

  void set_enable_thinking(bool on) { enable_thinking_ = on; }
  int64_t size() const { return static_cast<int64_t>(messages_.size()); }
  int64_t user_messages() const;

  // What the next answer goes on from. Errors: the template's and the
  // tokenizer's.
  absl::StatusOr<std::vector<int32_t>> Prompt() const;
  // How long that will be, were the next message empty.
  absl::StatusOr<int64_t> TokensOfNextPrompt() const;

  // JSON as `mkvm template --messages` takes it.
  std::string ToJson() const;
  // Replaces all messages; nothing has changed after an error.
  absl::Status FromJson(const std::string& json);

 private:
  using Json = nlohmann::ordered_json;

  bool HasSystem() const;
  absl::StatusOr<std::vector<int32_t>> Render(const Json& messages) const;

  const model::Tokenizer& tokenizer_;
  model::ChatTemplate template_;
  bool enable_thinking_ = true;
  Json messages_ = Json::array();
};

}  // namespace mkvm::cli

#endif  // MKVM_CLI_CONVERSATION_H_
