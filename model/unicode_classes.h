// Which Unicode HuggingFace's tokenizers know, so that the answer does not hang
// on the version of a library here. Private to model/.
//
// tokenizers 0.23 splits text by Unicode 16 and normalises it by Unicode 9. The
// libraries of Debian 12 and Ubuntu 24.04 know Unicode 14 and 15.
// tests/parity/text_parity.py compares every code point.
#ifndef MKVM_MODEL_UNICODE_CLASSES_H_
#define MKVM_MODEL_UNICODE_CLASSES_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace mkvm::model {

// `pattern` with \p{L} and \p{N} as of Unicode 16, and \s and \S without the
// Mongolian vowel separator, which PCRE2 takes for a space.
std::string WithUnicode16Classes(absl::string_view pattern);

// Whether normalisation must pass by `code_point` because Unicode 9 did not
// have it: as a character of combining class 0 that composes with nothing.
// True for others, too, of which that is so anyway.
bool IsNewToNormalization(uint32_t code_point);

}  // namespace mkvm::model

#endif  // MKVM_MODEL_UNICODE_CLASSES_H_
