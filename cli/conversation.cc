#include "cli/conversation.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace mkvm::cli {
namespace {

using Json = nlohmann::ordered_json;

bool IsOf(const Json& message, absl::string_view role) {
  const auto it = message.find("role");
  return it != message.end() && it->is_string() &&
         it->get_ref<const std::string&>() == role;
}

Json Message(absl::string_view role, const std::string& text) {
  return {{"role", std::string(role)}, {"content", text}};
}

}  // namespace

bool Conversation::HasSystem() const {
  return !messages_.empty() && IsOf(messages_.front(), "system");
}

void Conversation::SetSystem(const std::string& text) {
  if (HasSystem()) messages_.erase(messages_.begin());
  if (!text.empty()) {
    messages_.insert(messages_.begin(), Message("system", text));
  }
}

void Conversation::Add(absl::string_view role, const std::string& text) {
  messages_.push_back(Message(role, text));
}

void Conversation::RemoveLast() { messages_.erase(messages_.size() - 1); }

void Conversation::Reset() {
  Json kept = Json::array();
  if (HasSystem()) kept.push_back(std::move(messages_.front()));
  messages_ = std::move(kept);
}

int64_t Conversation::user_messages() const {
  int64_t count = 0;
  for (const Json& message : messages_) count += IsOf(message, "user") ? 1 : 0;
  return count;
}

bool Conversation::DropOldestTurn() {
  if (user_messages() < 2) return false;
  const auto begin = messages_.begin() + (HasSystem() ? 1 : 0);
  // A loaded conversation may begin with an answer: that goes with the turn.
  auto end = begin;
  while (!IsOf(*end, "user")) ++end;
  for (++end; !IsOf(*end, "user");) ++end;
  messages_.erase(begin, end);
  return true;
}

absl::StatusOr<std::vector<int32_t>> Conversation::Render(
    const Json& messages) const {
  const absl::StatusOr<std::string> text = template_.Render(
      messages.dump(-1, ' ', false, Json::error_handler_t::replace), "",
      {.add_generation_prompt = true, .enable_thinking = enable_thinking_});
  if (!text.ok()) return text.status();
  return tokenizer_.Encode(*text);
}

absl::StatusOr<std::vector<int32_t>> Conversation::Prompt() const {
  return Render(messages_);
}

absl::StatusOr<int64_t> Conversation::TokensOfNextPrompt() const {
  Json messages = messages_;
  messages.push_back(Message("user", ""));
  const absl::StatusOr<std::vector<int32_t>> ids = Render(messages);
  if (!ids.ok()) return ids.status();
  return static_cast<int64_t>(ids->size());
}

std::string Conversation::ToJson() const {
  return absl::StrCat(
      messages_.dump(2, ' ', false, Json::error_handler_t::replace), "\n");
}

absl::Status Conversation::FromJson(const std::string& json) {
  Json messages = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!messages.is_array()) {
    return absl::InvalidArgumentError("no JSON list of messages");
  }
  for (const Json& message : messages) {
    if (!message.is_object()) {
      return absl::InvalidArgumentError("a message is no object");
    }
  }
  // The template says what else is wrong with them.
  if (const auto ids = Render(messages); !ids.ok()) return ids.status();
  messages_ = std::move(messages);
  return absl::OkStatus();
}

}  // namespace mkvm::cli
