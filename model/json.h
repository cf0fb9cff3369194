// JSON text to a tree, with errors that say where. Private to model/.
#ifndef MKVM_MODEL_JSON_H_
#define MKVM_MODEL_JSON_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace mkvm::model {

using Json = nlohmann::json;
// Members stay in the order of the text.
using OrderedJson = nlohmann::ordered_json;

// Parses a whole text. Stricter than nlohmann's own parse(): a key that occurs
// twice in one object, a NUL byte and nesting deeper than 64 are errors too,
// since each is a way for two readers to see two different documents. Errors:
// InvalidArgument "WHAT: byte N: why", the byte counted from 1; `what` names
// the text.
absl::StatusOr<Json> ParseJson(absl::string_view text, absl::string_view what);

// The same. An integer beyond 64 bits is a binary value that holds its digits,
// since a double would lose some.
absl::StatusOr<OrderedJson> ParseOrderedJson(absl::string_view text,
                                             absl::string_view what);

// A value as people write it, cut to a short line, for messages.
std::string Brief(const Json& value);
std::string Brief(const OrderedJson& value);

}  // namespace mkvm::model

#endif  // MKVM_MODEL_JSON_H_
