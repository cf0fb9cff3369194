#include "model/word_cache.h"

namespace mkvm::model {

void WordCache::Encode(absl::string_view word, std::vector<int32_t>* out) {
  if (word.size() > kMaxWordBytes) {
    bpe_.Encode(word, scratch_, out);
    return;
  }
  if (ranges_.size() == kMaxWords) {
    ranges_.clear();
    ids_.clear();
  }
  const auto [it, is_new] = ranges_.try_emplace(word);
  if (is_new) {
    it->second.begin = static_cast<uint32_t>(ids_.size());
    bpe_.Encode(word, scratch_, &ids_);
    it->second.end = static_cast<uint32_t>(ids_.size());
  }
  const int32_t* ids = ids_.data();
  out->insert(out->end(), ids + it->second.begin, ids + it->second.end);
}

}  // namespace mkvm::model
