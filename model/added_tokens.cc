#include "model/added_tokens.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/match.h"

namespace mkvm::model {
namespace {

uint8_t FirstByte(absl::string_view text) {
  return static_cast<uint8_t>(text[0]);
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) {
  for (AddedToken& token : tokens) {
    if (!token.content.empty()) tokens_.push_back(std::move(token));
  }
  std::sort(tokens_.begin(), tokens_.end(),
            [](const AddedToken& a, const AddedToken& b) {
              if (FirstByte(a.content) != FirstByte(b.content)) {
                return FirstByte(a.content) < FirstByte(b.content);
              }
              return a.content.size() > b.content.size();
            });
  for (const AddedToken& token : tokens_) {
    ++begin_[FirstByte(token.content) + 1];
  }
  for (size_t b = 0; b < 256; ++b) begin_[b + 1] += begin_[b];
}

const AddedToken* AddedTokenFinder::Match(absl::string_view text) const {
  const uint8_t first = FirstByte(text);
  for (uint32_t i = begin_[first]; i < begin_[first + 1]; ++i) {
    if (absl::StartsWith(text, tokens_[i].content)) return &tokens_[i];
  }
  return nullptr;
}

absl::Status AddedTokenFinder::Split(
    absl::string_view text,
    absl::FunctionRef<absl::Status(absl::string_view, int32_t)> piece) const {
  size_t begin = 0;  // of the stretch without a token
  size_t at = 0;
  while (!tokens_.empty() && at < text.size()) {
    const AddedToken* token = Match(text.substr(at));
    if (token == nullptr) {
      ++at;
      continue;
    }
    if (at > begin) {
      absl::Status s = piece(text.substr(begin, at - begin), -1);
      if (!s.ok()) return s;
    }
    absl::Status s = piece(text.substr(at, token->content.size()), token->id);
    if (!s.ok()) return s;
    at += token->content.size();
    begin = at;
  }
  if (begin == text.size()) return absl::OkStatus();
  return piece(text.substr(begin), -1);
}

}  // namespace mkvm::model
