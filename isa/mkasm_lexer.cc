#include "isa/mkasm_lexer.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "isa/program_format.h"

namespace mkvm::isa {
namespace {

// A line longer than this is shown around the caret only.
constexpr size_t kShownColumns = 100;

bool IsWordChar(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' ||
         c == '.' || c == '-' || c == '+';
}

// Labels are for people ("L03.qkv[17]", "w/up,2"), so they may hold more.
bool IsLabelChar(char c) {
  return IsWordChar(c) || c == '[' || c == ']' || c == '/' || c == ',';
}

bool IsBareLabel(absl::string_view label) {
  return !label.empty() && std::all_of(label.begin(), label.end(), IsLabelChar);
}

class Lexer {
 public:
  Lexer(const Source& source, std::vector<Token>& tokens)
      : source_(source), text_(source.text), tokens_(tokens) {}

  absl::Status Run();

 private:
  bool AtLineStart() const {
    return tokens_.empty() || tokens_.back().kind == TokenKind::kNewline;
  }
  char Peek(size_t ahead) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\n';
  }
  void Add(TokenKind kind, size_t bytes) {
    tokens_.push_back({kind, at_, std::string(text_.substr(at_, bytes))});
    at_ += bytes;
  }
  template <typename Predicate>
  size_t Span(Predicate is_in) const {
    size_t end = at_;
    while (end < text_.size() && is_in(text_[end])) ++end;
    return end - at_;
  }

  void EndLine();
  bool SkipContinuation();
  absl::Status LexString();
  absl::Status LexOne();

  const Source& source_;
  const absl::string_view text_;
  std::vector<Token>& tokens_;
  size_t at_ = 0;
};

void Lexer::EndLine() {
  // Blank lines yield nothing.
  if (!AtLineStart()) tokens_.push_back({TokenKind::kNewline, at_, ""});
}

// A backslash at the end of a line joins it with the next.
bool Lexer::SkipContinuation() {
  size_t end = at_ + 1;
  while (end < text_.size() &&
         (text_[end] == ' ' || text_[end] == '\t' || text_[end] == '\r')) {
    ++end;
  }
  if (end >= text_.size() || text_[end] != '\n') return false;
  at_ = end + 1;
  return true;
}

absl::Status Lexer::LexString() {
  const size_t begin = at_;
  size_t end = at_ + 1;
  while (end < text_.size() && text_[end] != '"' && text_[end] != '\n') {
    // An escaped character, so that \" does not end the string.
    end += text_[end] == '\\' && end + 1 < text_.size() ? 2 : 1;
  }
  if (end >= text_.size() || text_[end] != '"') {
    return source_.Error(begin, "this string has no closing '\"'");
  }
  Token token{TokenKind::kString, begin, ""};
  std::string why;
  if (!absl::CUnescape(text_.substr(begin + 1, end - begin - 1), &token.text,
                       &why)) {
    return source_.Error(begin, absl::StrCat("bad escape in a string: ", why));
  }
  at_ = end + 1;
  if (AtLineStart() && Peek(0) == ':') {
    token.kind = TokenKind::kLabel;
    ++at_;
  }
  tokens_.push_back(std::move(token));
  return absl::OkStatus();
}

absl::Status Lexer::LexOne() {
  const char c = text_[at_];
  if (AtLineStart() && IsLabelChar(c)) {
    const size_t bytes = Span(IsLabelChar);
    if (Peek(bytes) == ':') {
      Add(TokenKind::kLabel, bytes);
      ++at_;  // the colon
      return absl::OkStatus();
    }
  }
  if (IsWordChar(c)) {
    Add(TokenKind::kWord, Span(IsWordChar));
  } else if (c == '"') {
    return LexString();
  } else if (c == '%' && absl::ascii_isdigit(Peek(1))) {
    ++at_;
    Add(TokenKind::kReference, Span(absl::ascii_isdigit));
    --tokens_.back().offset;
  } else if (c == '>' && Peek(1) == '=') {
    Add(TokenKind::kSymbol, 2);
  } else if (absl::string_view("=()[],:").find(c) != absl::string_view::npos) {
    Add(TokenKind::kSymbol, 1);
  } else if (absl::ascii_isprint(c)) {
    return source_.Error(at_, absl::StrCat("'", absl::string_view(&c, 1),
                                           "' means nothing here"));
  } else {
    return source_.Error(
        at_,
        absl::StrCat("byte 0x",
                     absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2),
                     " is not text"));
  }
  return absl::OkStatus();
}

absl::Status Lexer::Run() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == '\n') {
      EndLine();
      ++at_;
    } else if (c == ' ' || c == '\t' || c == '\r') {
      ++at_;
    } else if (c == '#') {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else if (c == '\\' && SkipContinuation()) {
      continue;
    } else if (absl::Status status = LexOne(); !status.ok()) {
      return status;
    }
  }
  EndLine();
  tokens_.push_back({TokenKind::kEnd, at_, ""});
  return absl::OkStatus();
}

// Printable, with tabs as they are so that the caret lines up.
std::string Shown(absl::string_view line) {
  std::string shown(line);
  for (char& c : shown) {
    if (c != '\t' && !absl::ascii_isprint(static_cast<unsigned char>(c)) &&
        static_cast<unsigned char>(c) < 0x80) {
      c = '?';
    }
  }
  return shown;
}

}  // namespace

absl::Status Source::Error(size_t offset, absl::string_view what) const {
  offset = std::min(offset, text.size());
  const absl::string_view before = text.substr(0, offset);
  const size_t line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t newline = before.rfind('\n');
  const size_t begin = newline == absl::string_view::npos ? 0 : newline + 1;
  const size_t column = offset - begin;
  absl::string_view shown =
      text.substr(begin, std::min(text.find('\n', begin), text.size()) - begin);
  if (!shown.empty() && shown.back() == '\r') shown.remove_suffix(1);

  size_t skipped = 0;
  if (shown.size() > kShownColumns && column > kShownColumns / 2) {
    skipped = column - kShownColumns / 2;
  }
  shown = shown.substr(std::min(skipped, shown.size()), kShownColumns);
  std::string caret;
  for (size_t i = 0; i < column - skipped; ++i) {
    caret += i < shown.size() && shown[i] == '\t' ? '\t' : ' ';
  }
  return absl::InvalidArgumentError(
      absl::StrCat(file_name, ":", line, ":", column + 1, ": error: ", what,
                   "\n", Shown(shown), "\n", caret, "^"));
}

absl::Status Lex(const Source& source, std::vector<Token>& tokens) {
  return Lexer(source, tokens).Run();
}

std::string Quote(absl::string_view text) {
  return absl::StrCat("\"", absl::Utf8SafeCHexEscape(text), "\"");
}

std::string QuoteUnlessName(absl::string_view name) {
  // "-" stands for no buffer.
  return IsWellFormedName(name) && name != "-" ? std::string(name)
                                               : Quote(name);
}

std::string QuoteUnlessLabel(absl::string_view label) {
  return IsBareLabel(label) ? std::string(label) : Quote(label);
}

}  // namespace mkvm::isa
