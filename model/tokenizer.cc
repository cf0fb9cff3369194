#include "model/tokenizer.h"

#include <cstddef>
#include <deque>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/added_tokens.h"
#include "model/bpe.h"
#include "model/byte_alphabet.h"
#include "model/nfc.h"
#include "model/tokenizer_spec.h"
#include "model/utf8.h"
#include "model/word_cache.h"
#include "model/word_splitter.h"

namespace mkvm::model {
namespace {

// Words are counted in 31 bits.
constexpr size_t kMaxTextBytes = std::numeric_limits<int32_t>::max();

// What an id stands for: bytes_[begin, begin + size).
struct TokenBytes {
  uint32_t begin = 0;
  uint32_t size = 0;
  enum class Kind : uint8_t { kNone, kPlain, kAdded, kSpecial };
  Kind kind = Kind::kNone;
};

}  // namespace

struct Tokenizer::Parts {
  Parts(Bpe bpe, WordSplitter splitter)
      : bpe(std::move(bpe)), splitter(std::move(splitter)) {}

  void AddToken(int32_t id, absl::string_view content, TokenBytes::Kind kind) {
    if (static_cast<size_t>(id) >= tokens.size()) tokens.resize(id + 1);
    tokens[id] = {static_cast<uint32_t>(bytes.size()),
                  static_cast<uint32_t>(content.size()), kind};
    bytes.append(content.data(), content.size());
  }

  TokenBytes::Kind KindOf(int32_t id) const {
    return id < 0 || static_cast<size_t>(id) >= tokens.size()
               ? TokenBytes::Kind::kNone
               : tokens[id].kind;
  }

  Bpe bpe;
  WordSplitter splitter;
  bool to_nfc = false;
  AddedTokenFinder in_raw;         // looked for before NFC
  AddedTokenFinder in_normalized;  // and after it
  absl::flat_hash_map<std::string, int32_t> added_ids;
  std::string bytes;  // of all tokens
  std::vector<TokenBytes> tokens;
};

namespace {

// One text on its way to ids.
class Encoder {
 public:
  struct Steps {
    const Bpe& bpe;
    const WordSplitter& splitter;
    bool to_nfc;
    const AddedTokenFinder& in_raw;
    const AddedTokenFinder& in_normalized;
  };
  explicit Encoder(const Steps& steps) : steps_(steps), cache_(steps.bpe) {}

  absl::Status Encode(absl::string_view text) {
    return steps_.in_raw.Split(text,
                               [this](absl::string_view piece, int32_t id) {
                                 return id >= 0 ? Put(id) : EncodeRaw(piece);
                               });
  }

  std::vector<int32_t> TakeIds() { return std::move(ids_); }

 private:
  absl::Status Put(int32_t id) {
    ids_.push_back(id);
    return absl::OkStatus();
  }

  absl::Status EncodeRaw(absl::string_view piece) {
    if (steps_.to_nfc) {
      std::string storage;
      piece = ToNfc(piece, &storage);
      if (!storage.empty()) {
        // The cache's words are views.
        normalized_.push_back(std::move(storage));
        piece = normalized_.back();
      }
    }
    return steps_.in_normalized.Split(
        piece, [this](absl::string_view stretch, int32_t id) {
          return id >= 0 ? Put(id) : EncodeNormalized(stretch);
        });
  }

  absl::Status EncodeNormalized(absl::string_view stretch) {
    return steps_.splitter.Split(stretch, [this](absl::string_view word) {
      cache_.Encode(word, &ids_);
    });
  }

  const Steps steps_;
  WordCache cache_;
  std::deque<std::string> normalized_;
  std::vector<int32_t> ids_;
};

const AddedTokenFinder& NoAddedTokens() {
  static const auto* none = new AddedTokenFinder();
  return *none;
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const Parts> parts)
    : parts_(std::move(parts)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

absl::StatusOr<Tokenizer> Tokenizer::Load(absl::string_view path) {
  const absl::StatusOr<TokenizerSpec> spec =
      ReadTokenizerSpec(std::string(path));
  if (!spec.ok()) return spec.status();
  const auto at_path = [&](const absl::Status& status) {
    return absl::Status(status.code(),
                        absl::StrCat(path, ": ", status.message()));
  };
  absl::StatusOr<WordSplitter> splitter = WordSplitter::Compile(spec->pattern);
  if (!splitter.ok()) return at_path(splitter.status());
  absl::StatusOr<Bpe> bpe = Bpe::Make(spec->ids, spec->merges);
  if (!bpe.ok()) return at_path(bpe.status());
  auto parts = std::make_unique<Parts>(*std::move(bpe), *std::move(splitter));
  parts->to_nfc = spec->to_nfc;
  for (const auto& [token, id] : spec->ids) {
    // A token outside of the alphabet is its own text; merges can't reach it.
    parts->AddToken(id, AlphabetToBytes(token).value_or(token),
                    TokenBytes::Kind::kPlain);
  }
  std::vector<AddedToken> in_raw;
  std::vector<AddedToken> in_normalized;
  for (const AddedToken& token : spec->added) {
    parts->AddToken(token.id, token.content,
                    token.is_special ? TokenBytes::Kind::kSpecial
                                     : TokenBytes::Kind::kAdded);
    parts->added_ids[token.content] = token.id;
    (token.is_normalized ? in_normalized : in_raw).push_back(token);
  }
  if (parts->to_nfc) {
    // They are compared with normalised text.
    for (AddedToken& token : in_normalized) {
      std::string storage;
      token.content = std::string(ToNfc(token.content, &storage));
    }
  }
  parts->in_raw = AddedTokenFinder(std::move(in_raw));
  parts->in_normalized = AddedTokenFinder(std::move(in_normalized));
  return Tokenizer(std::move(parts));
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(absl::string_view text,
                                                       bool parse_added) const {
  if (text.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d bytes of text are more than the %d that can be "
                        "tokenized at once",
                        text.size(), kMaxTextBytes));
  }
  const size_t invalid = FindInvalidUtf8(text);
  if (invalid != text.size()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the text is not UTF-8 at byte %d (0x%02x)", invalid,
                        static_cast<uint8_t>(text[invalid])));
  }
  Encoder encoder({parts_->bpe, parts_->splitter, parts_->to_nfc,
                   parse_added ? parts_->in_raw : NoAddedTokens(),
                   parse_added ? parts_->in_normalized : NoAddedTokens()});
  if (absl::Status s = encoder.Encode(text); !s.ok()) return s;
  return encoder.TakeIds();
}

absl::StatusOr<std::string> Tokenizer::Decode(absl::Span<const int32_t> ids,
                                              bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    const absl::StatusOr<absl::string_view> token = BytesOf(id);
    if (!token.ok()) return token.status();
    if (skip_special && IsSpecial(id)) continue;
    bytes.append(token->data(), token->size());
  }
  std::string text;
  AppendValidUtf8(bytes, /*is_end=*/true, &text);
  return text;
}

int32_t Tokenizer::size() const {
  return static_cast<int32_t>(parts_->tokens.size());
}

bool Tokenizer::IsToken(int32_t id) const {
  return parts_->KindOf(id) != TokenBytes::Kind::kNone;
}

bool Tokenizer::IsSpecial(int32_t id) const {
  return parts_->KindOf(id) == TokenBytes::Kind::kSpecial;
}

absl::StatusOr<absl::string_view> Tokenizer::BytesOf(int32_t id) const {
  if (!IsToken(id)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "id %d is no token: the tokenizer's are below %d", id, size()));
  }
  const TokenBytes& token = parts_->tokens[id];
  return absl::string_view(parts_->bytes).substr(token.begin, token.size);
}

absl::StatusOr<std::string> Tokenizer::NameOf(int32_t id) const {
  const absl::StatusOr<absl::string_view> bytes = BytesOf(id);
  if (!bytes.ok()) return bytes.status();
  return parts_->KindOf(id) == TokenBytes::Kind::kPlain
             ? BytesToAlphabet(*bytes)
             : std::string(*bytes);
}

std::optional<int32_t> Tokenizer::FindAdded(absl::string_view content) const {
  const auto it = parts_->added_ids.find(content);
  if (it == parts_->added_ids.end()) return std::nullopt;
  return it->second;
}

absl::StatusOr<std::string> StreamDecoder::Push(int32_t id) {
  const absl::StatusOr<absl::string_view> bytes = tokenizer_.BytesOf(id);
  if (!bytes.ok()) return bytes.status();
  if (skip_special_ && tokenizer_.IsSpecial(id)) return std::string();
  held_back_.append(bytes->data(), bytes->size());
  std::string text;
  held_back_.erase(0, AppendValidUtf8(held_back_, /*is_end=*/false, &text));
  return text;
}

std::string StreamDecoder::Finish() {
  std::string text;
  AppendValidUtf8(held_back_, /*is_end=*/true, &text);
  held_back_.clear();
  return text;
}

}  // namespace mkvm::model
