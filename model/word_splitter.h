// Cuts a text into words by a regular expression, each of which is then
// tokenized by itself. Private to model/.
#ifndef MKVM_MODEL_WORD_SPLITTER_H_
#define MKVM_MODEL_WORD_SPLITTER_H_

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mkvm::model {

// Thread-safe once made.
class WordSplitter {
 public:
  // `pattern` in the syntax that tokenizer.json and PCRE2 have in common; its
  // classes are Unicode's. Errors: InvalidArgument saying where it is wrong.
  static absl::StatusOr<WordSplitter> Compile(absl::string_view pattern);

  WordSplitter(WordSplitter&&) noexcept;
  WordSplitter& operator=(WordSplitter&&) noexcept;
  ~WordSplitter();

  // Calls `word` with every match and every stretch between matches, in order;
  // together they are `text`. REQUIRES: `text` is valid UTF-8. Errors:
  // InvalidArgument where the pattern matches nothing at all (an empty word)
  // or needs more steps or memory than PCRE2 allows.
  absl::Status Split(absl::string_view text,
                     absl::FunctionRef<void(absl::string_view)> word) const;

 private:
  struct Pattern;
  explicit WordSplitter(std::unique_ptr<const Pattern> pattern);

  std::unique_ptr<const Pattern> pattern_;
};

}  // namespace mkvm::model

#endif  // MKVM_MODEL_WORD_SPLITTER_H_
