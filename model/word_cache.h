// The ids of words seen before in a text: most words of a document are.
// Private to model/.
#ifndef MKVM_MODEL_WORD_CACHE_H_
#define MKVM_MODEL_WORD_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "model/bpe.h"

namespace mkvm::model {

// Belongs to one call, so that it needs no lock and its words can be views of
// the text. Bounded: it starts anew when full.
class WordCache {
 public:
  // REQUIRES: `bpe` and every word given live as long as the cache.
  explicit WordCache(const Bpe& bpe) : bpe_(bpe) {}

  // Appends the ids of `word`.
  void Encode(absl::string_view word, std::vector<int32_t>* out);

 private:
  struct Range {
    uint32_t begin;
    uint32_t end;
  };
  static constexpr size_t kMaxWords = size_t{1} << 16;
  // Longer words are rare and would fill it.
  static constexpr size_t kMaxWordBytes = 64;

  const Bpe& bpe_;
  Bpe::Scratch scratch_;
  absl::flat_hash_map<absl::string_view, Range> ranges_;
  std::vector<int32_t> ids_;  // of all words kept
};

}  // namespace mkvm::model

#endif  // MKVM_MODEL_WORD_CACHE_H_
