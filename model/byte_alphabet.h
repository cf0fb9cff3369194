// The alphabet in which byte-level tokenizers write bytes: each byte as one
// printable character, so that a vocabulary can be JSON. Private to model/.
#ifndef MKVM_MODEL_BYTE_ALPHABET_H_
#define MKVM_MODEL_BYTE_ALPHABET_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace mkvm::model {

// "Ġhello" -> " hello". None where a character is not of the alphabet or the
// text is not UTF-8.
std::optional<std::string> AlphabetToBytes(absl::string_view text);

// The inverse: any bytes as text.
std::string BytesToAlphabet(absl::string_view bytes);

}  // namespace mkvm::model

#endif  // MKVM_MODEL_BYTE_ALPHABET_H_
