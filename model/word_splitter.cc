#include "model/word_splitter.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstddef>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "model/unicode_classes.h"

namespace mkvm::model {
namespace {

struct FreeMatch {
  void operator()(pcre2_match_data* match) const {
    pcre2_match_data_free(match);
  }
};

std::string Explain(int error) {
  char text[256];
  pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR8*>(text),
                          sizeof(text));
  return text;
}

}  // namespace

struct WordSplitter::Pattern {
  explicit Pattern(pcre2_code* code) : code(code) {}
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;
  ~Pattern() { pcre2_code_free(code); }

  // The next match from `at` on, as pcre2_match answers.
  int Match(absl::string_view text, size_t at, pcre2_match_data* match) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR8>(text.data());
    if (has_jit) {
      const int result = pcre2_jit_match(code, subject, text.size(), at,
                                         PCRE2_NO_UTF_CHECK, match, nullptr);
      // The interpreter keeps its stack on the heap, which is larger.
      if (result != PCRE2_ERROR_JIT_STACKLIMIT) return result;
    }
    return pcre2_match(code, subject, text.size(), at,
                       PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match, nullptr);
  }

  pcre2_code* const code;
  bool has_jit = false;
};

WordSplitter::WordSplitter(std::unique_ptr<const Pattern> pattern)
    : pattern_(std::move(pattern)) {}
WordSplitter::WordSplitter(WordSplitter&&) noexcept = default;
WordSplitter& WordSplitter::operator=(WordSplitter&&) noexcept = default;
WordSplitter::~WordSplitter() = default;

absl::StatusOr<WordSplitter> WordSplitter::Compile(absl::string_view pattern) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  const std::string exact = WithUnicode16Classes(pattern);
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR8>(exact.data()), exact.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error,
                    &offset, nullptr);
  if (code == nullptr) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the pattern \"%s\" is wrong behind \"%s\": %s",
        absl::Utf8SafeCHexEscape(pattern),
        absl::CHexEscape(exact.substr(0, offset)), Explain(error)));
  }
  auto compiled = std::make_unique<Pattern>(code);
  // No JIT on this machine, or not allowed: slower, and the same.
  compiled->has_jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
  return WordSplitter(std::move(compiled));
}

absl::Status WordSplitter::Split(
    absl::string_view text,
    absl::FunctionRef<void(absl::string_view)> word) const {
  const std::unique_ptr<pcre2_match_data, FreeMatch> match(
      pcre2_match_data_create(1, nullptr));
  if (match == nullptr) {
    return absl::ResourceExhaustedError("no memory to split text into words");
  }
  const PCRE2_SIZE* const range = pcre2_get_ovector_pointer(match.get());
  size_t at = 0;
  while (at < text.size()) {
    const int result = pattern_->Match(text, at, match.get());
    if (result == PCRE2_ERROR_NOMATCH) {
      word(text.substr(at));
      break;
    }
    if (result < 0) {
      return absl::InvalidArgumentError(
          absl::StrFormat("cannot split the text into words at byte %d: %s", at,
                          Explain(result)));
    }
    // \K can put the start behind the end, or before `at`.
    if (range[1] <= range[0] || range[0] < at) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "the tokenizer's pattern matches an empty word at byte %d", at));
    }
    if (range[0] > at) word(text.substr(at, range[0] - at));
    word(text.substr(range[0], range[1] - range[0]));
    at = range[1];
  }
  return absl::OkStatus();
}

}  // namespace mkvm::model
