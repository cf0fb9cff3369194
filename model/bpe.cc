#include "model/bpe.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/byte_alphabet.h"

namespace mkvm::model {
namespace {

constexpr uint32_t kNoRank = std::numeric_limits<uint32_t>::max();
// Up to here, looking at all ranks for each merge is faster than a heap.
constexpr size_t kShortBytes = 48;

uint64_t PairKey(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 |
         static_cast<uint32_t>(right);
}

}  // namespace

absl::StatusOr<Bpe> Bpe::Make(
    const absl::flat_hash_map<std::string, int32_t>& ids,
    const std::vector<Merge>& merges) {
  Bpe bpe;
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const auto it = ids.find(BytesToAlphabet(absl::string_view(&c, 1)));
    if (it == ids.end()) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "the vocabulary has no token for byte 0x%02x, so that it is not "
          "byte-level",
          byte));
    }
    bpe.byte_ids_[byte] = it->second;
  }
  bpe.ranks_.reserve(merges.size());
  bpe.merged_.reserve(merges.size());
  std::string whole;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    whole = left;
    whole += right;
    const auto left_it = ids.find(left);
    const auto right_it = ids.find(right);
    const auto whole_it = ids.find(whole);
    for (const auto& [it, token] :
         {std::pair(left_it, &left), {right_it, &right}, {whole_it, &whole}}) {
      if (it != ids.end()) continue;
      return absl::InvalidArgumentError(absl::StrFormat(
          "merge %d (\"%s\" and \"%s\"): \"%s\" is not in the vocabulary", rank,
          absl::Utf8SafeCHexEscape(left), absl::Utf8SafeCHexEscape(right),
          absl::Utf8SafeCHexEscape(*token)));
    }
    // Of a merge listed twice the last rank counts, as in other readers.
    bpe.ranks_[PairKey(left_it->second, right_it->second)] =
        static_cast<uint32_t>(rank);
    bpe.merged_.push_back(whole_it->second);
  }
  for (const int32_t left : bpe.byte_ids_) {
    for (const int32_t right : bpe.byte_ids_) {
      bpe.byte_ranks_.push_back(bpe.RankOf(left, right));
    }
  }
  return bpe;
}

uint32_t Bpe::RankOf(int32_t left, int32_t right) const {
  const auto it = ranks_.find(PairKey(left, right));
  return it == ranks_.end() ? kNoRank : it->second;
}

void Bpe::EncodeShort(absl::string_view word, Scratch& scratch,
                      std::vector<int32_t>* out) const {
  std::vector<int32_t>& ids = scratch.ids;
  std::vector<uint32_t>& ranks = scratch.ranks;  // of ids[i] with ids[i + 1]
  ids.clear();
  ranks.clear();
  for (size_t i = 0; i < word.size(); ++i) {
    const auto byte = static_cast<uint8_t>(word[i]);
    ids.push_back(byte_ids_[byte]);
    if (i + 1 == word.size()) break;
    ranks.push_back(
        byte_ranks_[size_t{256} * byte + static_cast<uint8_t>(word[i + 1])]);
  }
  while (!ranks.empty()) {
    // The first of the lowest: equal merges are made from left to right.
    const auto best = std::min_element(ranks.begin(), ranks.end());
    if (*best == kNoRank) break;
    const size_t i = best - ranks.begin();
    ids[i] = merged_[*best];
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(i) + 1);
    ranks.erase(best);
    if (i > 0) ranks[i - 1] = RankOf(ids[i - 1], ids[i]);
    if (i < ranks.size()) ranks[i] = RankOf(ids[i], ids[i + 1]);
  }
  out->insert(out->end(), ids.begin(), ids.end());
}

// A heap of (rank, place), places being linked to their neighbours. An entry
// whose pair has changed since is stale: its rank is no longer the pair's.
class Bpe::LongWord {
 public:
  LongWord(const Bpe& bpe, absl::string_view word, Scratch& scratch)
      : bpe_(bpe), symbols_(scratch.symbols), heap_(scratch.heap) {
    const auto size = static_cast<int32_t>(word.size());
    symbols_.clear();
    for (int32_t i = 0; i < size; ++i) {
      symbols_.push_back({bpe.byte_ids_[static_cast<uint8_t>(word[i])], i - 1,
                          i + 1 < size ? i + 1 : -1});
    }
    heap_.clear();
    for (int32_t i = 0; i < size; ++i) {
      const uint64_t entry = EntryAt(i);
      if (IsMerge(entry)) heap_.push_back(entry);
    }
    std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  }

  void Encode(std::vector<int32_t>* out) {
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
      const uint64_t top = heap_.back();
      heap_.pop_back();
      const auto i = static_cast<int32_t>(top & 0xffffffffu);
      if (EntryAt(i) == top) MergeAt(i, static_cast<uint32_t>(top >> 32));
    }
    for (int32_t i = 0; i >= 0; i = symbols_[i].next) {
      out->push_back(symbols_[i].id);
    }
  }

 private:
  static bool IsMerge(uint64_t entry) { return entry >> 32 != kNoRank; }

  // Of place i and the one after it. Equal ranks are ordered by place: merges
  // are made from left to right.
  uint64_t EntryAt(int32_t i) const {
    uint32_t rank = kNoRank;
    // A place that was merged into the one before it has id -1.
    if (symbols_[i].id >= 0 && symbols_[i].next >= 0) {
      rank = bpe_.RankOf(symbols_[i].id, symbols_[symbols_[i].next].id);
    }
    return static_cast<uint64_t>(rank) << 32 | static_cast<uint32_t>(i);
  }

  void Push(int32_t i) {
    const uint64_t entry = EntryAt(i);
    if (!IsMerge(entry)) return;
    heap_.push_back(entry);
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }

  void MergeAt(int32_t i, uint32_t rank) {
    const int32_t right = symbols_[i].next;
    symbols_[i].id = bpe_.merged_[rank];
    symbols_[i].next = symbols_[right].next;
    symbols_[right].id = -1;
    if (symbols_[i].next >= 0) symbols_[symbols_[i].next].previous = i;
    if (symbols_[i].previous >= 0) Push(symbols_[i].previous);
    Push(i);
  }

  const Bpe& bpe_;
  std::vector<Scratch::Symbol>& symbols_;
  std::vector<uint64_t>& heap_;
};

void Bpe::Encode(absl::string_view word, Scratch& scratch,
                 std::vector<int32_t>* out) const {
  if (word.size() <= kShortBytes) {
    EncodeShort(word, scratch, out);
  } else {
    LongWord(*this, word, scratch).Encode(out);
  }
}

}  // namespace mkvm::model
