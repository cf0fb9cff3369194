// Unicode's normalisation form C, as of Unicode 9 (unicode_classes.h). Private
// to model/.
#ifndef MKVM_MODEL_NFC_H_
#define MKVM_MODEL_NFC_H_

#include <string>

#include "absl/strings/string_view.h"

namespace mkvm::model {

// `text` in NFC: a view of `text` itself where it is in that form already (as
// nearly all text is), else of `storage`. REQUIRES: `text` is valid UTF-8.
absl::string_view ToNfc(absl::string_view text, std::string* storage);

}  // namespace mkvm::model

#endif  // MKVM_MODEL_NFC_H_
