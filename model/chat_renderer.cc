#include "model/chat_renderer.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/python_json.h"

namespace mkvm::model {
namespace {

constexpr absl::string_view kToolsHead =
    "# Tools\n\nYou may call one or more functions to assist with the user "
    "query.\n\nYou are provided with function signatures within "
    "<tools></tools> XML tags:\n<tools>";
constexpr absl::string_view kToolsTail =
    "\n</tools>\n\nFor each function call, return a json object with function "
    "name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
    "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n"
    "</tool_call><|im_end|>\n";
constexpr absl::string_view kThinkEnd = "</think>";

// Python's strip("\n") and its halves: newlines only, no other space.
absl::string_view StripLeft(absl::string_view text) {
  const size_t begin = text.find_first_not_of('\n');
  return begin == absl::string_view::npos ? "" : text.substr(begin);
}
absl::string_view StripRight(absl::string_view text) {
  return text.substr(0, text.find_last_not_of('\n') + 1);
}

// The member, or null where there is none or it is null.
const OrderedJson* Find(const OrderedJson& object, const char* name) {
  const auto it = object.find(name);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

bool IsText(const OrderedJson* value) {
  return value != nullptr && value->is_string();
}

absl::string_view TextOf(const OrderedJson& value) {
  return value.get_ref<const std::string&>();
}

struct ToolCall {
  absl::string_view name;
  std::string arguments;
};

// A message with its parts looked up and checked.
struct Message {
  absl::string_view role;
  bool content_is_text = false;
  absl::string_view content;  // "" where that is no text
  // Given apart from the content.
  bool has_reasoning = false;
  absl::string_view reasoning;
  std::vector<ToolCall> calls;
};

absl::StatusOr<ToolCall> ReadToolCall(const OrderedJson& json,
                                      absl::string_view where) {
  const auto bad = [&](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: the tool call %s %s", where, Brief(json), why));
  };
  if (!json.is_object()) return bad("is no object");
  const OrderedJson* call = &json;
  if (const OrderedJson* function = Find(json, "function");
      function != nullptr && !function->empty()) {
    call = function;
  }
  if (!call->is_object()) return bad("has a \"function\" that is no object");
  const OrderedJson* name = Find(*call, "name");
  if (!IsText(name)) return bad("has no \"name\"");
  // null is an argument list, too: it is printed.
  const auto arguments = call->find("arguments");
  if (arguments == call->end()) return bad("has no \"arguments\"");
  return ToolCall{TextOf(*name), arguments->is_string()
                                     ? std::string(TextOf(*arguments))
                                     : DumpAsPython(*arguments)};
}

// Messages of other roles are left out, as by the templates.
bool IsRendered(absl::string_view role) {
  return role == "user" || role == "assistant" || role == "tool" ||
         role == "system";
}

class Renderer {
 public:
  Renderer(const ChatRules& rules, const ChatOptions& options)
      : rules_(rules), options_(options) {}

  absl::Status Read(const OrderedJson& messages) {
    if (messages.empty()) {
      return absl::InvalidArgumentError("messages: there is none");
    }
    for (const OrderedJson& json : messages) {
      absl::StatusOr<Message> message = ReadMessage(json);
      if (!message.ok()) return message.status();
      messages_.push_back(*std::move(message));
    }
    return absl::OkStatus();
  }

  std::string Render(const OrderedJson& tools) {
    if (rules_.is_plain) {
      RenderPlain();
      return std::move(out_);
    }
    RenderHead(tools);
    const size_t last_query = LastQuery();
    for (size_t i = 0; i < messages_.size(); ++i) {
      const Message& message = messages_[i];
      if (message.role == "user" || (message.role == "system" && i > 0)) {
        Put("<|im_start|>", message.role, "\n", message.content,
            "<|im_end|>\n");
      } else if (message.role == "assistant") {
        RenderAssistant(i, /*is_after_query=*/i > last_query);
      } else if (message.role == "tool") {
        RenderTool(i);
      }
    }
    RenderPrompt();
    return std::move(out_);
  }

 private:
  template <typename... Parts>
  void Put(const Parts&... parts) {
    absl::StrAppend(&out_, parts...);
  }

  std::string Where() const {
    return absl::StrCat("messages[", messages_.size(), "]");
  }

  // The message that comes next. Errors are what Jinja would stumble over, and
  // what it would print as a Python object.
  absl::StatusOr<Message> ReadMessage(const OrderedJson& json) const {
    const auto bad = [&](absl::string_view why) {
      return absl::InvalidArgumentError(absl::StrCat(Where(), ": ", why));
    };
    if (!json.is_object()) return bad("no object with \"role\"");
    Message message;
    const OrderedJson* role = Find(json, "role");
    if (!IsText(role)) return bad("\"role\" is no text");
    message.role = TextOf(*role);
    const OrderedJson* content = Find(json, "content");
    message.content_is_text = IsText(content);
    const bool must_be_text = rules_.is_plain || (rules_.content_must_be_text &&
                                                  IsRendered(message.role));
    if (message.content_is_text) message.content = TextOf(*content);
    const bool is_first_system = messages_.empty() && message.role == "system";
    if (!message.content_is_text && (is_first_system || must_be_text)) {
      return bad("\"content\" is no text, which this chat template needs");
    }
    if (rules_.is_plain) return message;
    const OrderedJson* reasoning = Find(json, "reasoning_content");
    if (IsText(reasoning)) {
      message.has_reasoning = true;
      message.reasoning = TextOf(*reasoning);
    } else if (reasoning != nullptr && rules_.content_must_be_text) {
      return bad("\"reasoning_content\" is no text");
    }
    if (message.role != "assistant") return message;
    const OrderedJson* calls = Find(json, "tool_calls");
    if (calls == nullptr) return message;
    if (!calls->is_array()) return bad("\"tool_calls\" is no list");
    for (const OrderedJson& call : *calls) {
      absl::StatusOr<ToolCall> read = ReadToolCall(call, Where());
      if (!read.ok()) return read.status();
      message.calls.push_back(*std::move(read));
    }
    return message;
  }

  void RenderPlain() {
    for (const Message& message : messages_) {
      Put("<|im_start|>", message.role, "\n", message.content, "<|im_end|>\n");
    }
    if (options_.add_generation_prompt) Put("<|im_start|>assistant\n");
  }

  // Tools and the system prompt, if there are any.
  void RenderHead(const OrderedJson& tools) {
    const bool has_system = messages_[0].role == "system";
    if (tools.empty()) {
      if (has_system) {
        Put("<|im_start|>system\n", messages_[0].content, "<|im_end|>\n");
      }
      return;
    }
    Put("<|im_start|>system\n");
    if (has_system) Put(messages_[0].content, "\n\n");
    Put(kToolsHead);
    for (const OrderedJson& tool : tools) Put("\n", DumpAsPython(tool));
    Put(kToolsTail);
  }

  // The last thing that the user asked. The results of tools may be in a user
  // message, too: those are no query. Reasoning is kept only after it.
  size_t LastQuery() const {
    for (size_t i = messages_.size(); i-- > 0;) {
      const Message& message = messages_[i];
      if (message.role == "user" && message.content_is_text &&
          !(absl::StartsWith(message.content, "<tool_response>") &&
            absl::EndsWith(message.content, "</tool_response>"))) {
        return i;
      }
    }
    return messages_.size() - 1;
  }

  void RenderAssistant(size_t i, bool is_after_query) {
    const Message& message = messages_[i];
    absl::string_view reasoning = message.reasoning;
    absl::string_view content = message.content;
    const size_t first_end = content.find(kThinkEnd);
    if (!message.has_reasoning && first_end != absl::string_view::npos) {
      reasoning = StripRight(content.substr(0, first_end));
      constexpr absl::string_view kThinkBegin = "<think>";
      const size_t begin = reasoning.rfind(kThinkBegin);
      if (begin != absl::string_view::npos) {
        reasoning.remove_prefix(begin + kThinkBegin.size());
      }
      reasoning = StripLeft(reasoning);
      content = StripLeft(
          content.substr(content.rfind(kThinkEnd) + kThinkEnd.size()));
    }
    Put("<|im_start|>assistant\n");
    const bool is_last = i + 1 == messages_.size();
    if (is_after_query && (is_last || !reasoning.empty())) {
      Put("<think>\n", StripLeft(StripRight(reasoning)), "\n</think>\n\n",
          StripLeft(content));
    } else {
      Put(content);
    }
    bool needs_newline = !content.empty();
    for (const ToolCall& call : message.calls) {
      Put(needs_newline ? "\n" : "", "<tool_call>\n{\"name\": \"", call.name,
          "\", \"arguments\": ", call.arguments, "}\n</tool_call>");
      needs_newline = true;
    }
    Put("<|im_end|>\n");
  }

  // Results that follow each other share one user message.
  void RenderTool(size_t i) {
    if (i == 0 || messages_[i - 1].role != "tool") Put("<|im_start|>user");
    Put("\n<tool_response>\n", messages_[i].content, "\n</tool_response>");
    if (i + 1 == messages_.size() || messages_[i + 1].role != "tool") {
      Put("<|im_end|>\n");
    }
  }

  void RenderPrompt() {
    if (!options_.add_generation_prompt) return;
    Put("<|im_start|>assistant\n");
    if (rules_.never_thinks || !options_.enable_thinking) {
      Put("<think>\n\n</think>\n\n");
    }
  }

  const ChatRules rules_;
  const ChatOptions options_;
  std::vector<Message> messages_;
  std::string out_;
};

}  // namespace

absl::StatusOr<std::string> RenderChat(const OrderedJson& messages,
                                       const OrderedJson& tools,
                                       const ChatRules& rules,
                                       const ChatOptions& options) {
  for (const OrderedJson& tool : tools) {
    if (!tool.is_object()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("tools: %s is no object", Brief(tool)));
    }
  }
  Renderer renderer(rules, options);
  if (absl::Status s = renderer.Read(messages); !s.ok()) return s;
  return renderer.Render(tools);
}

}  // namespace mkvm::model
