#include "scheduler/place.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"

namespace mkvm::scheduler {
namespace {

class Placer {
 public:
  explicit Placer(const Tiles& tiles)
      : tiles_(tiles),
        small_tiles_(tiles.workers, 0),
        attends_alone_(tiles.workers, false) {
    result_.worker.resize(tiles.tiles.size());
    result_.streamed_bytes.resize(tiles.workers, 0);
  }

  Placement Run() {
    for (size_t begin = 0; begin < tiles_.tiles.size();) {
      size_t end = begin;
      while (end < tiles_.tiles.size() &&
             tiles_.tiles[end].op == tiles_.tiles[begin].op) {
        ++end;
      }
      PlaceOp(begin, end);
      begin = end;
    }
    return std::move(result_);
  }

 private:
  const Tile& tile(size_t i) const { return tiles_.tiles[i]; }

  void PlaceOp(size_t begin, size_t end) {
    const bool streams = tile(begin).streamed_bytes > 0;
    if (tile(begin).pinned != kAnyWorker) {
      for (size_t i = begin; i < end; ++i) {
        Assign(i, static_cast<uint32_t>(tile(i).pinned));
      }
    } else if (tile(begin).beside != kNoTile) {
      for (size_t i = begin; i < end; ++i) {
        Assign(i, result_.worker[static_cast<size_t>(tile(i).beside)]);
      }
    } else if (tile(begin).kv_head != kNoHead && !streams) {
      PlaceNearHead(begin, end);
      NoteAlone(begin, end);
    } else {
      PlaceShares(begin, end);
      if (streams) attends_alone_.assign(tiles_.workers, false);
    }
    if (tile(begin).kv_head != kNoHead && streams) {
      head_workers_.clear();
      for (size_t i = begin; i < end; ++i) {
        const size_t head = static_cast<size_t>(tile(i).kv_head);
        if (head_workers_.size() <= head) head_workers_.resize(head + 1);
        head_workers_[head].push_back(result_.worker[i]);
      }
    }
  }

  void Assign(size_t i, uint32_t worker) {
    result_.worker[i] = worker;
    result_.streamed_bytes[worker] += tile(i).streamed_bytes;
    if (tile(i).streamed_bytes == 0) ++small_tiles_[worker];
  }

  // Which workers attend alone to a head as long as the context is short.
  void NoteAlone(size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      if (tile(i).instruction.opcode !=
          static_cast<uint16_t>(isa::Opcode::kAttention)) {
        return;
      }
      const auto op =
          isa::DecodeOperands<isa::AttentionOperands>(tile(i).instruction);
      if (op.alone != 0 && op.split == 0) {
        attends_alone_[result_.worker[i]] = true;
      }
    }
  }

  // Workers by load, the least first: streamed bytes, or the number of tiles
  // that stream nothing. In order when each gets one of the latter anyway. What
  // streams after attention is not for those that attend alone, if others are
  // enough: they would be the last to begin.
  std::vector<uint32_t> WorkersByLoad(bool streams, size_t shares) const {
    std::vector<uint32_t> order(tiles_.workers);
    std::iota(order.begin(), order.end(), 0u);
    if (!streams && shares == order.size()) return order;
    const std::vector<uint64_t>& load =
        streams ? result_.streamed_bytes : small_tiles_;
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return load[a] < load[b]; });
    if (streams && shares < order.size()) {
      std::stable_partition(order.begin(), order.end(),
                            [&](uint32_t w) { return !attends_alone_[w]; });
    }
    return order;
  }

  // Merges go to the workers that what streams next would take last, if there
  // are more than merges: others then wait for what they write.
  std::vector<uint32_t> WorkersFor(const Tile& first, size_t shares) const {
    const bool merges = first.instruction.opcode ==
                        static_cast<uint16_t>(isa::Opcode::kAttentionMerge);
    if (!merges || shares == tiles_.workers) {
      return WorkersByLoad(first.streamed_bytes > 0, shares);
    }
    std::vector<uint32_t> order = WorkersByLoad(true, shares);
    std::reverse(order.begin(), order.end());
    return order;
  }

  void PlaceShares(size_t begin, size_t end) {
    std::vector<uint64_t> bytes(tile(end - 1).share + 1, 0);
    for (size_t i = begin; i < end; ++i) {
      bytes[tile(i).share] += tile(i).streamed_bytes;
    }
    std::vector<uint32_t> by_size(bytes.size());
    std::iota(by_size.begin(), by_size.end(), 0u);
    std::stable_sort(
        by_size.begin(), by_size.end(),
        [&](uint32_t a, uint32_t b) { return bytes[a] > bytes[b]; });
    const std::vector<uint32_t> workers = WorkersFor(tile(begin), bytes.size());
    std::vector<uint32_t> worker_of_share(bytes.size());
    for (size_t rank = 0; rank < by_size.size(); ++rank) {
      worker_of_share[by_size[rank]] = workers[rank];
    }
    for (size_t i = begin; i < end; ++i) {
      Assign(i, worker_of_share[tile(i).share]);
    }
  }

  // Each tile to a worker that computed rows of its kv head, unless those have
  // more tiles of this operation than is their due.
  void PlaceNearHead(size_t begin, size_t end) {
    const size_t due = (end - begin + tiles_.workers - 1) / tiles_.workers;
    std::vector<size_t> taken(tiles_.workers, 0);
    for (size_t i = begin; i < end; ++i) {
      const size_t head = static_cast<size_t>(tile(i).kv_head);
      const std::vector<uint32_t>& near = head_workers_[head];
      uint32_t worker = *std::min_element(
          near.begin(), near.end(),
          [&](uint32_t a, uint32_t b) { return taken[a] < taken[b]; });
      if (taken[worker] >= due) {
        worker = static_cast<uint32_t>(
            std::min_element(taken.begin(), taken.end()) - taken.begin());
      }
      ++taken[worker];
      Assign(i, worker);
    }
  }

  const Tiles& tiles_;
  Placement result_;
  std::vector<uint64_t> small_tiles_;  // of each worker, that stream nothing
  std::vector<bool> attends_alone_;    // in the current layer
  // Workers with rows of each kv head of the current layer.
  std::vector<std::vector<uint32_t>> head_workers_;
};

}  // namespace

Placement Place(const Tiles& tiles) { return Placer(tiles).Run(); }

std::string DumpPlacement(const Graph& graph, const Tiles& tiles,
                          const Placement& placement) {
  std::string text = "placement: worker(bytes) of each tile\n";
  for (size_t i = 0; i < tiles.tiles.size(); ++i) {
    const Tile& tile = tiles.tiles[i];
    if (i == 0 || tiles.tiles[i - 1].op != tile.op) {
      absl::StrAppendFormat(&text, "%s%-14s", i == 0 ? "" : "\n",
                            graph.ops[tile.op].name);
    }
    absl::StrAppend(&text, " ", placement.worker[i]);
    if (tile.streamed_bytes > 0) {
      absl::StrAppend(&text, "(", tile.streamed_bytes, ")");
    }
  }
  text += "\nbytes per worker\n";
  for (size_t w = 0; w < placement.streamed_bytes.size(); ++w) {
    absl::StrAppendFormat(&text, "%4d %12d\n", w, placement.streamed_bytes[w]);
  }
  return text;
}

}  // namespace mkvm::scheduler
