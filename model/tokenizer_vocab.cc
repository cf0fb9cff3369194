// vocab.json and merges.txt: the tokenizer's files of before tokenizer.json.
// What they don't say is what transformers takes for this family.
#include <cstddef>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "model/tokenizer_parts.h"
#include "model/tokenizer_spec.h"

namespace mkvm::model {
namespace {

constexpr char kPattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Qwen's vocabulary without its added tokens, which follow it.
constexpr size_t kQwenTokens = 151643;
struct QwenToken {
  absl::string_view content;
  bool is_special;
};
constexpr QwenToken kQwenAdded[] = {
    {"<|endoftext|>", true},      {"<|im_start|>", true},
    {"<|im_end|>", true},         {"<|object_ref_start|>", true},
    {"<|object_ref_end|>", true}, {"<|box_start|>", true},
    {"<|box_end|>", true},        {"<|quad_start|>", true},
    {"<|quad_end|>", true},       {"<|vision_start|>", true},
    {"<|vision_end|>", true},     {"<|vision_pad|>", true},
    {"<|image_pad|>", true},      {"<|video_pad|>", true},
    {"<tool_call>", false},       {"</tool_call>", false},
    {"<|fim_prefix|>", false},    {"<|fim_middle|>", false},
    {"<|fim_suffix|>", false},    {"<|fim_pad|>", false},
    {"<|repo_name|>", false},     {"<|file_sep|>", false},
    {"<tool_response>", false},   {"</tool_response>", false},
    {"<think>", false},           {"</think>", false},
};

absl::Status ReadMergesText(absl::string_view text, absl::string_view what,
                            TokenizerSpec& spec) {
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    absl::ConsumeSuffix(&line, "\r");
    // Only this: a merge may begin with '#', too.
    if (line.empty() || absl::StartsWith(line, "#version")) continue;
    if (absl::Status s =
            AddMerge(line, absl::StrCat(what, ": merges, line ", number), spec);
        !s.ok()) {
      return s;
    }
  }
  return absl::OkStatus();
}

// "added_tokens_decoder": {"151643": {"content": ...}, ...}
absl::Status ReadConfig(absl::string_view text, absl::string_view what,
                        TokenizerSpec& spec) {
  const std::string where = absl::StrCat(what, ": tokenizer_config.json");
  const absl::StatusOr<Json> config = ParseJson(text, where);
  if (!config.ok()) return config.status();
  if (!config->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(where, " is no object"));
  }
  const auto tokens = config->find("added_tokens_decoder");
  if (tokens == config->end()) return absl::OkStatus();
  for (const auto& [key, token] : tokens->items()) {
    int64_t id;
    if (!absl::SimpleAtoi(key, &id)) id = -1;
    if (absl::Status s = AddAddedToken(token, id, where, spec); !s.ok()) {
      return s;
    }
  }
  return absl::OkStatus();
}

void AddQwenTokens(TokenizerSpec& spec) {
  auto id = static_cast<int32_t>(kQwenTokens);
  for (const QwenToken& token : kQwenAdded) {
    spec.added.push_back({id++, std::string(token.content), token.is_special,
                          /*is_normalized=*/false});
  }
}

}  // namespace

absl::StatusOr<TokenizerSpec> ParseVocabAndMerges(const VocabTexts& texts,
                                                  absl::string_view what) {
  TokenizerSpec spec;
  spec.to_nfc = true;
  spec.pattern = kPattern;
  const std::string vocab_name = absl::StrCat(what, ": vocab.json");
  const absl::StatusOr<Json> vocab = ParseJson(texts.vocab, vocab_name);
  if (!vocab.ok()) return vocab.status();
  if (absl::Status s = ReadVocab(*vocab, vocab_name, spec); !s.ok()) return s;
  if (absl::Status s = ReadMergesText(texts.merges, what, spec); !s.ok()) {
    return s;
  }
  if (texts.config.has_value()) {
    if (absl::Status s = ReadConfig(*texts.config, what, spec); !s.ok()) {
      return s;
    }
  }
  if (spec.added.empty() && spec.ids.size() == kQwenTokens) {
    AddQwenTokens(spec);
  }
  if (absl::Status s = CheckAdded(spec, what); !s.ok()) return s;
  return spec;
}

}  // namespace mkvm::model
