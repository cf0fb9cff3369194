#include "scheduler/lower.h"

#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "isa/traffic.h"

namespace mkvm::scheduler {
namespace {

// Two workers never write the same 128-byte line of a vector.
constexpr uint32_t kLineElements = 32;
// A row of the table is a few kilobytes: too few to spread thinly.
constexpr uint32_t kEmbedElements = 256;
// A merge reads every split of its head whatever its range, so narrow tiles
// cost little; but the fewer there are, the more workers can wait for what they
// write undisturbed.
constexpr uint32_t kMergeElements = 64;

uint64_t CeilDiv(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

// A stretch of an operation's line: `part`, restricted to elements (or rows)
// [begin, end), which are cut at multiples of `unit` from begin.
struct Segment {
  Part part;
  uint64_t begin = 0;
  uint64_t end = 0;
  uint64_t unit = 1;
  std::string counter;
  int32_t kv_head = kNoHead;

  uint64_t units() const { return CeilDiv(end - begin, unit); }
};

// Restricts the part to [begin, end) of its rows or elements.
void Narrow(Part& part, uint64_t begin, uint64_t end) {
  const uint32_t first = static_cast<uint32_t>(begin);
  const uint32_t count = static_cast<uint32_t>(end - begin);
  std::visit(
      [&](auto& op) {
        using T = std::decay_t<decltype(op)>;
        if constexpr (std::is_same_v<T, isa::GemvOperands>) {
          op.row_begin = first;
          op.rows = count;
        } else if constexpr (requires { op.begin, op.count; }) {
          op.begin = first;
          op.count = count;
        }
      },
      part);
}

class Line {
 public:
  Line(const Op& op, const Graph& graph, const Geometry& geometry)
      : op_(op), graph_(graph), geometry_(geometry) {
    if (op.per_kv_head) {
      for (uint32_t head = 0; head < graph.kv_heads; ++head) {
        for (const Part& part : op.parts) AddHead(part, head);
      }
    } else {
      for (const Part& part : op.parts) AddWhole(part);
    }
  }

  const std::vector<Segment>& segments() const { return segments_; }
  uint64_t units() const {
    uint64_t units = 0;
    for (const Segment& s : segments_) units += s.units();
    return units;
  }

 private:
  void AddSegment(const Part& part, uint64_t begin, uint64_t end, uint64_t unit,
                  int32_t kv_head = kNoHead) {
    std::string counter = op_.counter;
    if (op_.per_kv_head) absl::StrAppend(&counter, ".", kv_head);
    segments_.push_back({part, begin, end, unit, std::move(counter), kv_head});
  }

  // What one kv head has of the part.
  void AddHead(const Part& part, uint32_t head) {
    const int32_t kv_head = static_cast<int32_t>(head);
    if (const auto* gemv = std::get_if<isa::GemvOperands>(&part)) {
      const uint64_t rows = gemv->rows / graph_.kv_heads;
      AddSegment(part, head * rows, (head + 1) * rows, geometry_.row_unit,
                 kv_head);
    } else if (const auto* a = std::get_if<isa::AttentionOperands>(&part)) {
      isa::AttentionOperands op = *a;
      op.kv_head = head;
      for (op.split = 0; op.split < op.splits; ++op.split) {
        if (op.split > 0) op.y = isa::kNoBuffer;
        if (op.split > 0 && geometry_.idle_splits) {
          op.alone = static_cast<uint32_t>(
              std::min<uint64_t>(uint64_t{op.split} * op.block,
                                 std::numeric_limits<uint32_t>::max()));
        }
        AddSegment(op, 0, 1, 1, kv_head);
      }
    } else if (const auto* a =
                   std::get_if<isa::QkNormRopeAppendOperands>(&part)) {
      isa::QkNormRopeAppendOperands op = *a;
      op.kv_head = head;
      AddSegment(op, 0, 1, 1, kv_head);
    }
  }

  void AddWhole(const Part& part) {
    std::visit(
        [&](const auto& op) {
          using T = std::decay_t<decltype(op)>;
          if constexpr (std::is_same_v<T, isa::GemvOperands>) {
            AddSegment(op, 0, op.rows, geometry_.row_unit);
          } else if constexpr (std::is_same_v<T, isa::AttentionMergeOperands>) {
            AddMerge(op);
          } else if constexpr (std::is_same_v<T, isa::SampleSliceOperands>) {
            AddSlices(op);
          } else if constexpr (std::is_same_v<T, isa::EmbedOperands>) {
            AddSegment(op, 0, op.count, kEmbedElements);
          } else if constexpr (std::is_same_v<T, isa::HaltOperands>) {
            AddSegment(op, 0, geometry_.workers, 1);
          } else if constexpr (requires { op.begin, op.count; }) {
            AddSegment(op, 0, op.count, kLineElements);
          } else {
            AddSegment(op, 0, 1, 1);
          }
        },
        part);
  }

  void AddMerge(isa::AttentionMergeOperands op) {
    for (op.kv_head = 0; op.kv_head < graph_.kv_heads; ++op.kv_head) {
      for (op.member = 0; op.member < op.group; ++op.member) {
        AddSegment(op, 0, op.head_dim, kMergeElements);
      }
    }
  }

  void AddSlices(isa::SampleSliceOperands op) {
    const std::vector<uint32_t> begins = SampleSlices(op.count, geometry_);
    for (op.slice = 0; op.slice + 1 < begins.size(); ++op.slice) {
      const uint32_t begin = begins[op.slice];
      const uint32_t end = begins[op.slice + 1];
      AddSegment(op, begin, end, end - begin);
    }
  }

  const Op& op_;
  const Graph& graph_;
  const Geometry& geometry_;
  std::vector<Segment> segments_;
};

// Tile `number` of the operation: units [first, last) of the segment.
Tile MakeTile(const Graph& graph, uint32_t op_index, size_t number,
              const Segment& segment, uint64_t first, uint64_t last) {
  const Op& op = graph.ops[op_index];
  Tile tile;
  tile.op = op_index;
  tile.counter = segment.counter;
  tile.kv_head = segment.kv_head;
  tile.label = absl::StrCat(op.name, "[", number, "]");
  Part part = segment.part;
  Narrow(part, segment.begin + first * segment.unit,
         std::min(segment.end, segment.begin + last * segment.unit));
  if (auto* gemv = std::get_if<isa::GemvOperands>(&part)) {
    if (gemv->epilogue == isa::Epilogue::kArgmax) {
      gemv->slot = static_cast<uint32_t>(number);
    }
  } else if (std::holds_alternative<isa::HaltOperands>(part)) {
    tile.pinned = static_cast<int32_t>(number);
  } else if (std::holds_alternative<isa::ArgmaxOperands>(part) ||
             std::holds_alternative<isa::SampleOperands>(part) ||
             std::holds_alternative<isa::AdvanceOperands>(part)) {
    tile.pinned = 0;
    tile.label = op.name;
  } else if (const auto* a = std::get_if<isa::AttentionOperands>(&part)) {
    tile.label = absl::StrCat(op.name, ".h", a->kv_head, "[", a->split, "]");
  }
  tile.instruction = EncodePart(part);
  tile.streamed_bytes = isa::StreamedBytes(graph.tensors, tile.instruction);
  return tile;
}

// Gemvs have shares of `min_gemv_rows` at least.
uint64_t MaxShares(const Line& line, const Op& op, const Geometry& geometry) {
  if (op.every_worker ||
      !std::holds_alternative<isa::GemvOperands>(op.parts.front())) {
    return line.units();
  }
  const uint64_t units =
      std::max<uint64_t>(1, CeilDiv(geometry.min_gemv_rows, geometry.row_unit));
  return std::max<uint64_t>(1, line.units() / units);
}

// Cuts the operation's line into shares and appends their tiles.
void CutOp(const Graph& graph, uint32_t op_index, const Geometry& geometry,
           std::vector<Tile>& tiles) {
  const Line line(graph.ops[op_index], graph, geometry);
  const uint64_t units = line.units();
  const uint64_t shares =
      std::min(MaxShares(line, graph.ops[op_index], geometry),
               uint64_t{geometry.workers});
  const size_t first_tile = tiles.size();
  uint64_t share = 0;
  uint64_t line_unit = 0;  // where the segment begins on the line
  for (const Segment& segment : line.segments()) {
    for (uint64_t unit = 0; unit < segment.units();) {
      // The share that owns this unit, and where that share ends.
      while ((share + 1) * units / shares <= line_unit + unit) ++share;
      const uint64_t end =
          std::min(segment.units(), (share + 1) * units / shares - line_unit);
      tiles.push_back(MakeTile(graph, op_index, tiles.size() - first_tile,
                               segment, unit, end));
      tiles.back().share = static_cast<uint32_t>(share);
      if (graph.ops[op_index].per_share) {
        absl::StrAppend(&tiles.back().counter, ".", share);
      }
      unit = end;
    }
    line_unit += segment.units();
  }
}

// Puts each slice [first, end) beside the tile of the LM head whose logits it
// reads; those are the tiles just before.
void PutSlicesBesideLogits(size_t first, std::vector<Tile>& tiles) {
  size_t head = first;
  while (head > 0 && tiles[head - 1].op == tiles[first - 1].op) --head;
  for (size_t i = first; i < tiles.size(); ++i) {
    const auto slice =
        isa::DecodeOperands<isa::SampleSliceOperands>(tiles[i].instruction);
    while (head + 1 < first &&
           isa::DecodeOperands<isa::GemvOperands>(tiles[head + 1].instruction)
                   .row_begin <= slice.begin) {
      ++head;
    }
    tiles[i].beside = static_cast<int32_t>(head);
  }
}

}  // namespace

Tiles Lower(const Graph& graph, const Geometry& geometry) {
  Tiles result;
  result.workers = geometry.workers;
  for (uint32_t op = 0; op < graph.ops.size(); ++op) {
    const size_t first = result.tiles.size();
    CutOp(graph, op, geometry, result.tiles);
    if (std::holds_alternative<isa::SampleSliceOperands>(
            graph.ops[op].parts.front())) {
      PutSlicesBesideLogits(first, result.tiles);
    }
  }
  return result;
}

std::string DumpTiles(const Graph& graph, const Tiles& tiles) {
  std::string text = absl::StrFormat("tiles: %d for %d workers\n",
                                     tiles.tiles.size(), tiles.workers);
  for (const Tile& tile : tiles.tiles) {
    absl::StrAppendFormat(&text, "%-18s %9d bytes  ", tile.label,
                          tile.streamed_bytes);
    absl::StrAppend(&text, FormatInstruction(graph.tensors, tile.instruction));
    if (!tile.counter.empty()) absl::StrAppend(&text, " -> ", tile.counter);
    text += '\n';
  }
  return text;
}

}  // namespace mkvm::scheduler
