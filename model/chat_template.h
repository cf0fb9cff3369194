// A conversation as the text that a model was trained to go on from: what the
// snapshot's Jinja template renders to, to the byte.
#ifndef MKVM_MODEL_CHAT_TEMPLATE_H_
#define MKVM_MODEL_CHAT_TEMPLATE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mkvm::model {

struct ChatOptions {
  // End with the head of the assistant's next message.
  bool add_generation_prompt = true;
  // False: let the model answer without thinking first. Templates without a
  // choice ignore it.
  bool enable_thinking = true;
};

// mkvm has no Jinja interpreter: it knows Qwen3's templates and that of
// mkvm-tiny by their text, and renders each as its own code.
class ChatTemplate {
 public:
  // The template that a snapshot's folder ships: chat_template.jinja, else
  // tokenizer_config.json's "chat_template". Errors: NotFound where there is
  // none; InvalidArgument where it is not one that mkvm knows.
  static absl::StatusOr<ChatTemplate> Load(absl::string_view folder);
  // The same from the template's text; `what` names it in errors.
  static absl::StatusOr<ChatTemplate> FromText(absl::string_view text,
                                               absl::string_view what);

  // `messages`: JSON, a list of {"role", "content", ...} as transformers'
  // apply_chat_template takes it. `tools`: a JSON list of tool descriptions, or
  // empty. Errors: InvalidArgument naming what is wrong with which message,
  // also where the Jinja template would fail.
  absl::StatusOr<std::string> Render(absl::string_view messages,
                                     absl::string_view tools,
                                     const ChatOptions& options) const;

  // E.g. "Qwen3".
  absl::string_view name() const;

  // How the known templates differ.
  struct Dialect;

 private:
  explicit ChatTemplate(const Dialect* dialect) : dialect_(dialect) {}

  const Dialect* dialect_;  // of a static table
};

}  // namespace mkvm::model

#endif  // MKVM_MODEL_CHAT_TEMPLATE_H_
