#include "isa/mkasm_cursor.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace mkvm::isa {
namespace {

// Insertions, deletions, replacements and swaps of neighbours that make one
// word the other.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> before(b.size() + 1);  // row i - 2
  std::vector<size_t> above(b.size() + 1);   // row i - 1
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before.swap(above);
    above.swap(row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1,
                         above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
  }
  return row[b.size()];
}

// Longer words are no typos of anything, and would cost time.
constexpr size_t kLongestTypo = 100;

}  // namespace

const Token& Cursor::Next() {
  const Token& token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

void Cursor::Fail(const Token& token, absl::string_view what) {
  if (ok()) status_ = source_.Error(token.offset, what);
  at_ = tokens_.size() - 1;
}

bool Cursor::TakeSymbol(absl::string_view symbol) {
  if (!Peek().IsSymbol(symbol)) return false;
  Next();
  return true;
}

bool Cursor::TakeWord(absl::string_view word) {
  if (!Peek().IsWord(word)) return false;
  Next();
  return true;
}

void Cursor::ExpectSymbol(absl::string_view symbol) {
  if (TakeSymbol(symbol)) return;
  Fail(Peek(), absl::StrCat("'", symbol, "' expected, not ", Describe(Peek())));
}

const Token& Cursor::ExpectWord(absl::string_view what) {
  if (Peek().kind != TokenKind::kWord) {
    Fail(Peek(), absl::StrCat(what, " expected, not ", Describe(Peek())));
  }
  return Next();
}

std::string Cursor::ExpectText(absl::string_view what) {
  if (Peek().kind != TokenKind::kWord && Peek().kind != TokenKind::kString) {
    Fail(Peek(), absl::StrCat(what, " expected, not ", Describe(Peek())));
  }
  return Next().text;
}

void Cursor::ExpectLineEnd() {
  if (!AtLineEnd()) {
    Fail(Peek(),
         absl::StrCat("the end of the line expected, not ", Describe(Peek())));
  }
  Next();
}

uint64_t Cursor::ExpectNumber(absl::string_view what, uint64_t max) {
  if (!ok()) return 0;
  return NumberOf(Next(), what, max);
}

uint64_t Cursor::NumberOf(const Token& token, absl::string_view what,
                          uint64_t max) {
  uint64_t value = 0;
  const bool hex = absl::StartsWith(token.text, "0x");
  const bool is_number =
      (token.kind == TokenKind::kWord || token.kind == TokenKind::kReference) &&
      !absl::StartsWith(token.text, "+") &&
      (hex ? absl::SimpleHexAtoi(token.text, &value)
           : absl::SimpleAtoi(token.text, &value));
  if (is_number && value <= max) return value;
  Fail(token, absl::StrCat(what, ": ", Describe(token),
                           " is not a whole number from 0 to ", max));
  return 0;
}

std::string Describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kNewline:
      return "the end of the line";
    case TokenKind::kEnd:
      return "the end of the text";
    case TokenKind::kReference:
      return absl::StrCat("'%", token.text, "'");
    case TokenKind::kString:
      return Quote(token.text);
    case TokenKind::kLabel:
      return absl::StrCat("label '", absl::Utf8SafeCHexEscape(token.text), "'");
    case TokenKind::kWord:
    case TokenKind::kSymbol:
      break;
  }
  return absl::StrCat("'", token.text, "'");
}

std::string DidYouMean(absl::string_view word,
                       absl::Span<const absl::string_view> candidates) {
  if (word.size() > kLongestTypo) return "";
  size_t nearest = std::max<size_t>(1, word.size() / 3) + 1;
  absl::string_view best;
  for (absl::string_view candidate : candidates) {
    if (candidate.size() > kLongestTypo) continue;
    const size_t distance = EditDistance(word, candidate);
    // A word of which nothing is left is no suggestion.
    if (distance < nearest && distance < word.size()) {
      nearest = distance;
      best = candidate;
    }
  }
  return best.empty() ? "" : absl::StrCat("; did you mean '", best, "'?");
}

}  // namespace mkvm::isa
