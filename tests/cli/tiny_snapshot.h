// A HuggingFace snapshot of a model too small to know anything, made on the
// fly: noise, but always the same, and with text.
#ifndef MKVM_TESTS_CLI_TINY_SNAPSHOT_H_
#define MKVM_TESTS_CLI_TINY_SNAPSHOT_H_

#include <string>

namespace mkvm {

// Ids of its tokenizer beyond those of model::TinyTokenizer.
inline constexpr int kTinyImStart = 269;   // "<|im_start|>", special
inline constexpr int kTinyImEnd = 270;     // "<|im_end|>", special
inline constexpr int kTinyThinkEnd = 271;  // "</think>", not special
inline constexpr int kTinyTokens = 272;    // padded to 280 logits

// Messages between <|im_start|> and <|im_end|>, and nothing else.
extern const char kPlainTemplate[];

// Writes config.json, model.safetensors, tokenizer.json,
// generation_config.json and chat_template.jinja. Without sampling; no id ends
// the text.
void WriteTinySnapshot(const std::string& folder);

}  // namespace mkvm

#endif  // MKVM_TESTS_CLI_TINY_SNAPSHOT_H_
