// Text to token ids and back, exactly as HuggingFace's tokenizers do it, for
// byte-level BPE (Qwen's). docs/tokenizer.md says how, and what is refused.
#ifndef MKVM_MODEL_TOKENIZER_H_
#define MKVM_MODEL_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace mkvm::model {

// Thread-safe: nothing changes once it is loaded.
class Tokenizer {
 public:
  // `path`: a tokenizer.json, or a snapshot's folder with one, or with
  // vocab.json and merges.txt. Errors: NotFound naming what is missing;
  // InvalidArgument naming the file and the part of it that is damaged, or
  // that asks for something that mkvm doesn't do.
  static absl::StatusOr<Tokenizer> Load(absl::string_view path);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // The ids of `text`, with no token put in front or behind. `parse_added`:
  // whether "<|im_end|>" in the text is that token or ten characters. Errors:
  // InvalidArgument with the offset of the first byte that is not UTF-8.
  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text,
                                              bool parse_added = true) const;

  // The text of `ids`; bytes that are not UTF-8 become U+FFFD, one for each
  // longest start of a character. `skip_special` leaves out <|im_end|> and the
  // like, but not <think>. Errors: InvalidArgument naming an id that is no
  // token.
  absl::StatusOr<std::string> Decode(absl::Span<const int32_t> ids,
                                     bool skip_special = false) const;

  // One above the largest id that is a token. Models have logits beyond it,
  // which mean nothing.
  int32_t size() const;
  // Ids below size() may be none, too.
  bool IsToken(int32_t id) const;
  bool IsSpecial(int32_t id) const;
  // The bytes that `id` stands for, possibly a part of a character. Lives as
  // long as the tokenizer. Errors: as for Decode.
  absl::StatusOr<absl::string_view> BytesOf(int32_t id) const;
  // `id` as the vocabulary writes it: "Ġworld", "<|im_end|>".
  absl::StatusOr<std::string> NameOf(int32_t id) const;
  // The id of an added token, e.g. "<|im_end|>".
  std::optional<int32_t> FindAdded(absl::string_view content) const;

 private:
  struct Parts;
  explicit Tokenizer(std::unique_ptr<const Parts> parts);

  std::unique_ptr<const Parts> parts_;
};

// Text out of ids that come one at a time: never a part of a character. The
// pieces together are what Decode makes of all ids.
class StreamDecoder {
 public:
  // REQUIRES: `tokenizer` outlives it.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = false)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}

  // The text that `id` completes, maybe none. Errors: InvalidArgument where
  // `id` is no token; nothing has changed then.
  absl::StatusOr<std::string> Push(int32_t id);
  // What is left at the end: "" or one U+FFFD. Then it can start anew.
  std::string Finish();

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  std::string held_back_;  // the start of a character, at most 3 bytes
};

}  // namespace mkvm::model

#endif  // MKVM_MODEL_TOKENIZER_H_
