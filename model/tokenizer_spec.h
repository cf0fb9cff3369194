// What the files of a tokenizer say, before anything is made of it. Private to
// model/.
#ifndef MKVM_MODEL_TOKENIZER_SPEC_H_
#define MKVM_MODEL_TOKENIZER_SPEC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/added_tokens.h"
#include "model/bpe.h"

namespace mkvm::model {

// A byte-level BPE tokenizer.
struct TokenizerSpec {
  bool to_nfc = false;  // normalise text first
  std::string pattern;  // what a word is
  // Of tokens in the byte alphabet. Ids are distinct and below
  // kMaxTokens.
  absl::flat_hash_map<std::string, int32_t> ids;
  std::vector<Merge> merges;  // by ascending rank
  // No two of the same content, none with the id of another token.
  std::vector<AddedToken> added;
};

// More than any tokenizer has; keeps a damaged id from asking for memory.
inline constexpr int32_t kMaxTokens = 1 << 24;

// `path`: a tokenizer.json, or a folder with one, or with vocab.json and
// merges.txt. In the last case the added tokens are those that
// tokenizer_config.json lists; if it lists none or is not there, they are
// Qwen3's where the vocabulary is of Qwen's size, else none. Errors: NotFound
// naming what is missing; InvalidArgument naming the file and the part of it
// that is damaged, or that asks for something that mkvm doesn't do.
absl::StatusOr<TokenizerSpec> ReadTokenizerSpec(const std::string& path);

// The same from texts; `what` names them in errors.
absl::StatusOr<TokenizerSpec> ParseTokenizerJson(absl::string_view text,
                                                 absl::string_view what);
struct VocabTexts {
  absl::string_view vocab;
  absl::string_view merges;
  std::optional<absl::string_view> config;  // tokenizer_config.json
};
absl::StatusOr<TokenizerSpec> ParseVocabAndMerges(const VocabTexts& texts,
                                                  absl::string_view what);

}  // namespace mkvm::model

#endif  // MKVM_MODEL_TOKENIZER_SPEC_H_
