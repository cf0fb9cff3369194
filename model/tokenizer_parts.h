// What tokenizer.json and the older files have in common. Private to model/.
#ifndef MKVM_MODEL_TOKENIZER_PARTS_H_
#define MKVM_MODEL_TOKENIZER_PARTS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/json.h"
#include "model/tokenizer_spec.h"

namespace mkvm::model {

// {"token": id, ...} into spec.ids. `what` names the object in errors.
absl::Status ReadVocab(const Json& vocab, absl::string_view what,
                       TokenizerSpec& spec);

// "left right" into spec.merges. `what` names the merge in errors.
absl::Status AddMerge(absl::string_view text, absl::string_view what,
                      TokenizerSpec& spec);

// One object of tokenizer.json's "added_tokens", or of tokenizer_config.json's
// "added_tokens_decoder", into spec.added. REQUIRES: spec.ids is filled.
absl::Status AddAddedToken(const Json& token, int64_t id,
                           absl::string_view what, TokenizerSpec& spec);

// That neither ids nor contents of spec.added collide.
absl::Status CheckAdded(const TokenizerSpec& spec, absl::string_view what);

}  // namespace mkvm::model

#endif  // MKVM_MODEL_TOKENIZER_PARTS_H_
