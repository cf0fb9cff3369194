// UTF-8: where a text is not, and what to show in its place. Private to model/.
#ifndef MKVM_MODEL_UTF8_H_
#define MKVM_MODEL_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace mkvm::model {

// What the first bytes of a text are.
struct Utf8Unit {
  enum class Kind {
    kCharacter,   // a whole one
    kInvalid,     // the start of none, or of one that breaks off before its end
    kIncomplete,  // the text ends inside of what may become one
  };
  Kind kind;
  // Bytes of the character, or of the longest start of one (Unicode's "maximal
  // subpart"), which is what one U+FFFD replaces. At least 1.
  size_t size_bytes;
};

// REQUIRES: `text` is not empty.
Utf8Unit NextUtf8(absl::string_view text);

// The offset of the first byte that is not part of a whole character;
// text.size() where the text is valid.
size_t FindInvalidUtf8(absl::string_view text);

// The code point of the character that `text` begins with. REQUIRES: it begins
// with a whole one. `size_bytes` gets its size.
uint32_t DecodeUtf8(absl::string_view text, size_t* size_bytes);

// Appends `code_point` to `out`. REQUIRES: it is no surrogate and below
// 0x110000.
void AppendUtf8(uint32_t code_point, std::string* out);

// Appends `bytes` to `out` with U+FFFD in place of each invalid unit. Stops
// before an incomplete one at the end unless `is_end`, and returns how many
// bytes it took.
size_t AppendValidUtf8(absl::string_view bytes, bool is_end, std::string* out);

}  // namespace mkvm::model

#endif  // MKVM_MODEL_UTF8_H_
