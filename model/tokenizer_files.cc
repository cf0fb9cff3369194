// Which files of a folder make its tokenizer.
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "model/file.h"
#include "model/tokenizer_spec.h"

namespace mkvm::model {
namespace {

bool Has(const std::string& folder, absl::string_view name) {
  return KindOfPath(JoinPath(folder, name)) != PathKind::kNone;
}

absl::StatusOr<TokenizerSpec> ReadVocabFolder(const std::string& folder) {
  const absl::StatusOr<std::string> vocab =
      ReadSmallFile(JoinPath(folder, "vocab.json"));
  if (!vocab.ok()) return vocab.status();
  const absl::StatusOr<std::string> merges =
      ReadSmallFile(JoinPath(folder, "merges.txt"));
  if (!merges.ok()) return merges.status();
  if (!Has(folder, "tokenizer_config.json")) {
    return ParseVocabAndMerges({*vocab, *merges, std::nullopt}, folder);
  }
  const absl::StatusOr<std::string> config =
      ReadSmallFile(JoinPath(folder, "tokenizer_config.json"));
  if (!config.ok()) return config.status();
  return ParseVocabAndMerges({*vocab, *merges, *config}, folder);
}

}  // namespace

absl::StatusOr<TokenizerSpec> ReadTokenizerSpec(const std::string& path) {
  std::string file = path;
  if (KindOfPath(path) == PathKind::kDirectory) {
    file = JoinPath(path, "tokenizer.json");
    if (!Has(path, "tokenizer.json")) {
      const bool has_vocab = Has(path, "vocab.json");
      const bool has_merges = Has(path, "merges.txt");
      if (has_vocab && has_merges) return ReadVocabFolder(path);
      return absl::NotFoundError(absl::StrFormat(
          "%s has no tokenizer: neither tokenizer.json nor %s; download it "
          "from where the model is from",
          path,
          has_vocab    ? "merges.txt beside its vocab.json"
          : has_merges ? "vocab.json beside its merges.txt"
                       : "vocab.json with merges.txt"));
    }
  }
  const absl::StatusOr<std::string> text = ReadSmallFile(file);
  if (!text.ok()) return text.status();
  return ParseTokenizerJson(*text, file);
}

}  // namespace mkvm::model
