// The words of the text form, with where they stand. Grammar: assembler.cc.
#ifndef MKVM_ISA_MKASM_LEXER_H_
#define MKVM_ISA_MKASM_LEXER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace mkvm::isa {

enum class TokenKind : uint8_t {
  kWord,       // letters, digits and _ . + -
  kString,     // "...", `text` is its unescaped content
  kLabel,      // at the start of a line and followed by ':', which is eaten
  kReference,  // %17, `text` is the digits
  kSymbol,     // one of = ( ) [ ] , : or >=
  kNewline,    // end of a line that is not continued
  kEnd,        // end of the text
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  size_t offset = 0;  // of its first byte in the text
  std::string text;

  bool IsSymbol(absl::string_view symbol) const {
    return kind == TokenKind::kSymbol && text == symbol;
  }
  bool IsWord(absl::string_view word) const {
    return kind == TokenKind::kWord && text == word;
  }
};

// The text being assembled, for messages.
struct Source {
  absl::string_view text;
  absl::string_view file_name;

  // "FILE:LINE:COLUMN: error: what", then the line and a caret.
  absl::Status Error(size_t offset, absl::string_view what) const;
};

// The last token is kEnd, after a kNewline.
absl::Status Lex(const Source& source, std::vector<Token>& tokens);

// A name or label as the text form writes it: bare where that reads back as
// one token of the kind, else quoted.
std::string QuoteUnlessName(absl::string_view name);
std::string QuoteUnlessLabel(absl::string_view label);
std::string Quote(absl::string_view text);

}  // namespace mkvm::isa

#endif  // MKVM_ISA_MKASM_LEXER_H_
