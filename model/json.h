// JSON text to a tree, with errors that say where. Private to model/.
#ifndef MKVM_MODEL_JSON_H_
#define MKVM_MODEL_JSON_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace mkvm::model {

using Json = nlohmann::json;

// Parses a whole text. Stricter than nlohmann's own parse(): a key that occurs
// twice in one object, a NUL byte and nesting deeper than 64 are errors too,
// since each is a way for two readers to see two different documents. Errors:
// InvalidArgument "WHAT: byte N: why", the byte counted from 1; `what` names
// the text.
absl::StatusOr<Json> ParseJson(absl::string_view text, absl::string_view what);

// A value as people write it, cut to a short line, for messages.
std::string Brief(const Json& value);

}  // namespace mkvm::model

#endif  // MKVM_MODEL_JSON_H_
