// What Qwen3's chat templates and plain ChatML do, as code. Private to model/.
#ifndef MKVM_MODEL_CHAT_RENDERER_H_
#define MKVM_MODEL_CHAT_RENDERER_H_

#include <string>

#include "absl/status/statusor.h"
#include "model/chat_template.h"
#include "model/json.h"

namespace mkvm::model {

// How the templates of the family differ.
struct ChatRules {
  // Content that is no text is an error, not an empty text.
  bool content_must_be_text = false;
  // The generation prompt always has an empty thought.
  bool never_thinks = false;
  // Role and content of every message, whatever the role, and nothing else:
  // no thoughts, tools or calls. Content must be a text.
  bool is_plain = false;
};

// REQUIRES: both are arrays. Errors: as ChatTemplate::Render.
absl::StatusOr<std::string> RenderChat(const OrderedJson& messages,
                                       const OrderedJson& tools,
                                       const ChatRules& rules,
                                       const ChatOptions& options);

}  // namespace mkvm::model

#endif  // MKVM_MODEL_CHAT_RENDERER_H_
