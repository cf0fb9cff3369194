// Byte-pair encoding of one word: bytes first, then the merge of lowest rank
// that applies, again and again. Private to model/.
#ifndef MKVM_MODEL_BPE_H_
#define MKVM_MODEL_BPE_H_

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mkvm::model {

// A merge as files write it: two tokens in the byte alphabet.
using Merge = std::pair<std::string, std::string>;

// Thread-safe once made.
class Bpe {
 public:
  // `ids`: from a token in the byte alphabet to its id. `merges` by ascending
  // rank. Errors: InvalidArgument naming the byte without a token, or the merge
  // of which a part or the whole has none.
  static absl::StatusOr<Bpe> Make(
      const absl::flat_hash_map<std::string, int32_t>& ids,
      const std::vector<Merge>& merges);

  // Working memory of Encode, to be kept from word to word.
  struct Scratch {
    struct Symbol {
      int32_t id;
      int32_t previous;  // neighbours; -1: none
      int32_t next;
    };
    std::vector<int32_t> ids;
    std::vector<uint32_t> ranks;
    std::vector<Symbol> symbols;
    std::vector<uint64_t> heap;
  };

  // Appends the ids of `word`, any bytes, below 2 GiB. O(n log n) for long
  // words.
  void Encode(absl::string_view word, Scratch& scratch,
              std::vector<int32_t>* out) const;

 private:
  class LongWord;

  Bpe() = default;
  // The rank of the merge of two neighbours; kNoRank where there is none.
  uint32_t RankOf(int32_t left, int32_t right) const;
  void EncodeShort(absl::string_view word, Scratch& scratch,
                   std::vector<int32_t>* out) const;

  std::array<int32_t, 256> byte_ids_;
  absl::flat_hash_map<uint64_t, uint32_t> ranks_;  // of a pair of ids
  // The same for two bytes, 256 * left + right: a third of all look-ups.
  std::vector<uint32_t> byte_ranks_;
  std::vector<int32_t> merged_;  // what a rank makes
};

}  // namespace mkvm::model

#endif  // MKVM_MODEL_BPE_H_
