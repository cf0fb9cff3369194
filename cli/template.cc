// mkvm template: a conversation -> the text that the model goes on from.
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/model_folder.h"
#include "cli/verbs.h"
#include "model/chat_template.h"

namespace mkvm::cli {
namespace {

struct TemplateFlags {
  std::string model;
  std::string messages;
  std::string tools;
  model::ChatOptions options;
};

Flags MakeFlags(TemplateFlags& f) {
  Flags flags("template --messages FILE.json [FLAGS]",
              "Prints a conversation as the model's chat template renders it, "
              "and nothing else.\n`mkvm tokenize -` makes ids of it.");
  flags.Add("model,m", &f.model, "DIR|ORG/NAME|tiny",
            "the snapshot with the template ($MKVM_MODEL, else Qwen3-0.6B\n"
            "in the HuggingFace cache, else the built-in model)");
  flags.Add("messages", &f.messages, "FILE.json",
            "a list of {\"role\": ..., \"content\": ...}; \"-\": stdin");
  flags.Add("tools", &f.tools, "FILE.json", "a list of tool descriptions");
  flags.Add("enable_thinking", &f.options.enable_thinking,
            "false: an empty thought, so that the model answers at once\n"
            "(true)");
  flags.Add("add_generation_prompt", &f.options.add_generation_prompt,
            "end with the head of the assistant's next message (true)");
  return flags;
}

}  // namespace

absl::Status TemplateVerb(Args args) {
  TemplateFlags f;
  Flags flags = MakeFlags(f);
  absl::StatusOr<std::vector<std::string>> positionals =
      flags.Parse(args, 0, 0);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!positionals.ok()) return positionals.status();
  if (f.messages.empty()) return UsageError("--messages FILE.json is missing");
  if (f.messages == "-" && f.tools == "-") {
    return UsageError("--messages and --tools can't both be stdin");
  }
  const absl::StatusOr<std::string> folder = FindModelFolder(f.model);
  if (!folder.ok()) return folder.status();
  const auto chat_template = model::ChatTemplate::Load(*folder);
  if (!chat_template.ok()) return chat_template.status();
  const absl::StatusOr<std::string> messages = ReadFile(f.messages);
  if (!messages.ok()) return messages.status();
  absl::StatusOr<std::string> tools = std::string();
  if (!f.tools.empty()) tools = ReadFile(f.tools);
  if (!tools.ok()) return tools.status();
  if (messages->empty()) {
    return absl::InvalidArgumentError(absl::StrCat(f.messages, " is empty"));
  }
  const auto text = chat_template->Render(*messages, *tools, f.options);
  if (!text.ok()) return text.status();
  return WriteFile("-", *text);
}

}  // namespace mkvm::cli
