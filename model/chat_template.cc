#include "model/chat_template.h"

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "model/chat_renderer.h"
#include "model/file.h"
#include "model/hash.h"
#include "model/json.h"

namespace mkvm::model {

struct ChatTemplate::Dialect {
  absl::string_view name;
  uint64_t hash;  // HashName of the text as Normalized makes it
  ChatRules rules;
};

namespace {

constexpr ChatTemplate::Dialect kDialects[] = {
    {"Qwen3", 0xd6aa25d410fce447, {}},
    {"Qwen3 of April 2025", 0x1657a98f741ba3a7, {.content_must_be_text = true}},
    {"Qwen3 without thinking", 0xb13e8a1d687e69b3, {.never_thinks = true}},
    // scripts/tiny_model/chat_template.jinja.
    {"plain ChatML", 0xa05b44e963786721, {.is_plain = true}},
};

// What Jinja sees: one kind of line end, and none after the last line.
std::string Normalized(absl::string_view text) {
  const std::string lines = absl::StrReplaceAll(text, {{"\r\n", "\n"}});
  return std::string(absl::StripSuffix(lines, "\n"));
}

// "chat_template" of tokenizer_config.json: a text, or a list of named ones.
absl::StatusOr<ChatTemplate> FromConfig(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadSmallFile(path);
  if (!text.ok()) return text.status();
  const absl::StatusOr<Json> config = ParseJson(*text, path);
  if (!config.ok()) return config.status();
  const auto it =
      config->is_object() ? config->find("chat_template") : config->end();
  if (!config->is_object() || it == config->end() || it->is_null()) {
    return absl::NotFoundError(absl::StrCat(
        path,
        " has no \"chat_template\" and there is no chat_template.jinja "
        "beside it: this model is not for chat"));
  }
  if (it->is_string()) {
    return ChatTemplate::FromText(it->get<std::string>(), path);
  }
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": \"chat_template\" is ", Brief(*it),
                   "; mkvm takes one template, as a text"));
}

// The list that `json` is; empty for "" and null. Errors name `what`.
absl::StatusOr<OrderedJson> ParseList(absl::string_view json,
                                      absl::string_view what) {
  if (json.empty()) return OrderedJson::array();
  absl::StatusOr<OrderedJson> list = ParseOrderedJson(json, what);
  if (!list.ok()) return list.status();
  if (list->is_null()) return OrderedJson::array();
  if (!list->is_array()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: %s is no list", what, Brief(*list)));
  }
  return list;
}

}  // namespace

absl::StatusOr<ChatTemplate> ChatTemplate::Load(absl::string_view folder) {
  const std::string jinja = JoinPath(folder, "chat_template.jinja");
  if (KindOfPath(jinja) != PathKind::kNone) {
    const absl::StatusOr<std::string> text = ReadSmallFile(jinja);
    if (!text.ok()) return text.status();
    return FromText(*text, jinja);
  }
  const std::string config = JoinPath(folder, "tokenizer_config.json");
  if (KindOfPath(config) != PathKind::kNone) return FromConfig(config);
  return absl::NotFoundError(
      absl::StrCat(folder,
                   " has no chat template: neither chat_template.jinja nor "
                   "tokenizer_config.json"));
}

absl::StatusOr<ChatTemplate> ChatTemplate::FromText(absl::string_view text,
                                                    absl::string_view what) {
  const uint64_t hash = HashName(Normalized(text));
  std::vector<absl::string_view> names;
  for (const Dialect& dialect : kDialects) {
    if (dialect.hash == hash) return ChatTemplate(&dialect);
    names.push_back(dialect.name);
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s: a chat template that mkvm does not know (it knows those of %s); "
      "render the conversation elsewhere and give the text or its ids",
      what, absl::StrJoin(names, ", ")));
}

absl::string_view ChatTemplate::name() const { return dialect_->name; }

absl::StatusOr<std::string> ChatTemplate::Render(
    absl::string_view messages, absl::string_view tools,
    const ChatOptions& options) const {
  const absl::StatusOr<OrderedJson> message_list =
      ParseList(messages, "messages");
  if (!message_list.ok()) return message_list.status();
  const absl::StatusOr<OrderedJson> tool_list = ParseList(tools, "tools");
  if (!tool_list.ok()) return tool_list.status();
  return RenderChat(*message_list, *tool_list, dialect_->rules, options);
}

}  // namespace mkvm::model
