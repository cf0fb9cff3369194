// Walks the tokens of a .mkasm text. The first error sticks: from then on the
// cursor stands at the end, every read yields a default, and loops come to
// their end, so a parser reads like its grammar.
#ifndef MKVM_ISA_MKASM_CURSOR_H_
#define MKVM_ISA_MKASM_CURSOR_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "isa/mkasm_lexer.h"

namespace mkvm::isa {

class Cursor {
 public:
  // REQUIRES: `tokens` are of `source` and end with kEnd; both outlive it.
  Cursor(const Source& source, const std::vector<Token>& tokens)
      : source_(source), tokens_(tokens) {}

  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }

  const Token& Peek() const { return tokens_[at_]; }
  const Token& Next();
  bool AtEnd() const { return Peek().kind == TokenKind::kEnd; }
  bool AtLineEnd() const {
    return AtEnd() || Peek().kind == TokenKind::kNewline;
  }

  // Points at `token`. Only the first call counts.
  void Fail(const Token& token, absl::string_view what);

  // Takes the next token if it is this one.
  bool TakeSymbol(absl::string_view symbol);
  bool TakeWord(absl::string_view word);

  // Take the next token; fail where it is something else. `what` is what the
  // message says was expected, e.g. "a counter".
  void ExpectSymbol(absl::string_view symbol);
  const Token& ExpectWord(absl::string_view what);
  std::string ExpectText(absl::string_view what);  // a word or a string
  void ExpectLineEnd();
  // Decimal or 0x...; `what` begins the message, e.g. "producers".
  uint64_t ExpectNumber(absl::string_view what,
                        uint64_t max = std::numeric_limits<uint64_t>::max());
  uint32_t ExpectU32(absl::string_view what) {
    return static_cast<uint32_t>(
        ExpectNumber(what, std::numeric_limits<uint32_t>::max()));
  }
  // The same for a token at hand.
  uint64_t NumberOf(const Token& token, absl::string_view what, uint64_t max);

 private:
  const Source& source_;
  const std::vector<Token>& tokens_;
  size_t at_ = 0;
  absl::Status status_;
};

// "'gmev'" and the like, for messages.
std::string Describe(const Token& token);

// "; did you mean 'gemv'?" where a candidate is near enough, else "".
std::string DidYouMean(absl::string_view word,
                       absl::Span<const absl::string_view> candidates);

}  // namespace mkvm::isa

#endif  // MKVM_ISA_MKASM_CURSOR_H_
