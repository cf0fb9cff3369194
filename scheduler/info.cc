#include "scheduler/info.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "isa/opcode_table.h"
#include "isa/traffic.h"
#include "nlohmann/json.hpp"

namespace mkvm::scheduler {
namespace {

constexpr uint64_t kPositions[] = {0, 512, 4096};

// Positions that the KV caches and the rope tables hold; 0 when there are none.
uint64_t ContextOf(const isa::Program& program) {
  uint64_t context = 0;
  const auto limit = [&](uint64_t holds) {
    context = context == 0 ? holds : std::min(context, holds);
  };
  const auto limit_to_rows = [&](uint32_t rope) {
    if (rope != isa::kNoBuffer) limit(program.buffers[rope].shape[0]);
  };
  for (const std::vector<isa::Instruction>& queue : program.queues) {
    for (const isa::Instruction& i : queue) {
      if (i.opcode == static_cast<uint16_t>(isa::Opcode::kAttention)) {
        const auto op = isa::DecodeOperands<isa::AttentionOperands>(i);
        limit(program.buffers[op.k_cache].shape[1] * op.splits);
        limit_to_rows(op.rope);
      } else if (i.opcode ==
                 static_cast<uint16_t>(isa::Opcode::kQkNormRopeAppend)) {
        limit_to_rows(
            isa::DecodeOperands<isa::QkNormRopeAppendOperands>(i).rope);
      }
    }
  }
  return context;
}

uint64_t TotalKvBytes(const isa::Program& program, uint64_t position) {
  uint64_t bytes = 0;
  for (const std::vector<isa::Instruction>& queue : program.queues) {
    for (const isa::Instruction& instruction : queue) {
      bytes += isa::KvBytes(instruction, position);
    }
  }
  return bytes;
}

void CountInstructions(const isa::Program& program, ProgramInfo& info) {
  uint64_t worker_sum = 0;
  for (size_t w = 0; w < program.queues.size(); ++w) {
    uint64_t worker_bytes = 0;
    for (const isa::Instruction& instruction : program.queues[w]) {
      const isa::OpcodeInfo* opcode = isa::FindOpcode(instruction.opcode);
      ++info.instructions_by_opcode[opcode == nullptr
                                        ? "unknown"
                                        : absl::StrCat(opcode->name)];
      for (int i = 0; i < instruction.num_waits; ++i) {
        ++info.waits;
        if (instruction.WaitIsTagged(i)) ++info.tagged_waits;
      }
      if (instruction.signal != isa::kNoCounter &&
          (instruction.flags & isa::kFlagRelease)) {
        ++info.releases;
      }
      worker_bytes += isa::StreamedBytes(program.buffers, instruction);
    }
    worker_sum += worker_bytes;
    info.max_worker_bytes = std::max(info.max_worker_bytes, worker_bytes);
    info.min_worker_bytes =
        w == 0 ? worker_bytes : std::min(info.min_worker_bytes, worker_bytes);
  }
  info.streamed_bytes = worker_sum;
  if (worker_sum > 0) {
    info.balance = static_cast<double>(info.max_worker_bytes) *
                   program.num_workers() / static_cast<double>(worker_sum);
  }
}

void Predict(const isa::Program& program, const Target& target,
             ProgramInfo& info) {
  info.has_prediction = true;
  info.critical_path = LongestPath(program, target);
  info.cyclic = info.critical_path.instructions == 0 && info.instructions > 0;
  if (info.cyclic) return;
  const uint64_t context = ContextOf(program);
  for (const uint64_t position : kPositions) {
    if (position > 0 && position >= context) continue;
    Prediction p;
    p.position = position;
    p.kv_bytes = TotalKvBytes(program, position);
    p.us = PredictPassUs(program, target, position);
    p.tokens_per_s = p.us > 0 ? 1e6 / p.us : 0;
    p.stream_us =
        (info.streamed_bytes + p.kv_bytes) / (target.stream_gb_per_s * 1e3);
    info.predictions.push_back(p);
  }
}

}  // namespace

ProgramInfo AnalyzeProgram(const isa::Program& program,
                           const Target* target_or_null) {
  ProgramInfo info;
  info.name = program.name;
  info.model = program.model;
  info.target = program.target.name;
  info.workers = program.num_workers();
  info.instructions = isa::NumInstructions(program);
  info.counters = program.counters.size();
  for (const isa::Buffer& buffer : program.buffers) {
    info.buffer_bytes[absl::StrCat(isa::Name(buffer.kind))] +=
        isa::NumElements(buffer) * isa::SizeOf(buffer.dtype);
  }
  CountInstructions(program, info);
  if (target_or_null != nullptr) Predict(program, *target_or_null, info);
  return info;
}

std::string InfoText(const ProgramInfo& info) {
  std::string text;
  const auto line = [&](const char* key, const std::string& value) {
    absl::StrAppendFormat(&text, "%-16s %s\n", key, value);
  };
  line("program", info.name);
  if (!info.model.empty()) line("model", info.model);
  line("target", info.target);
  line("workers", absl::StrCat(info.workers));
  line("instructions", absl::StrCat(info.instructions));
  for (const auto& [name, count] : info.instructions_by_opcode) {
    absl::StrAppendFormat(&text, "  %-20s %8d\n", name, count);
  }
  line("counters", absl::StrCat(info.counters));
  line("waits", absl::StrFormat("%d, of them %d by tagged data", info.waits,
                                info.tagged_waits));
  line("releases", absl::StrCat(info.releases, " per pass"));
  for (const auto& [kind, bytes] : info.buffer_bytes) {
    line(kind.c_str(), absl::StrFormat("%.3f MB", bytes / 1e6));
  }
  line("streamed", absl::StrFormat("%.3f MB per token",  //
                                   info.streamed_bytes / 1e6));
  line("per worker",
       absl::StrFormat("%.3f to %.3f MB, max/mean %.3f",
                       info.min_worker_bytes / 1e6, info.max_worker_bytes / 1e6,
                       info.balance));
  if (info.cyclic) {
    line("critical path", "none: the waits form a cycle");
  } else if (info.has_prediction) {
    line("critical path",
         absl::StrFormat("%d instructions, %.1f us without prefetch",
                         info.critical_path.instructions,
                         info.critical_path.us));
    for (const Prediction& p : info.predictions) {
      line("predicted",
           absl::StrFormat("%.1f us, %.0f tokens/s at position %d (KV %.3f MB;"
                           " stream alone %.1f us)",
                           p.us, p.tokens_per_s, p.position, p.kv_bytes / 1e6,
                           p.stream_us));
    }
  }
  return text;
}

std::string InfoText(const isa::Program& program,
                     const Target* target_or_null) {
  return InfoText(AnalyzeProgram(program, target_or_null));
}

std::string InfoJson(const ProgramInfo& info) {
  nlohmann::ordered_json json;
  json["program"] = info.name;
  json["model"] = info.model;
  json["target"] = info.target;
  json["workers"] = info.workers;
  json["instructions"] = info.instructions;
  json["instructions_by_opcode"] = info.instructions_by_opcode;
  json["counters"] = info.counters;
  json["waits"] = info.waits;
  json["tagged_waits"] = info.tagged_waits;
  json["releases"] = info.releases;
  json["buffer_bytes"] = info.buffer_bytes;
  json["streamed_bytes"] = info.streamed_bytes;
  json["min_worker_bytes"] = info.min_worker_bytes;
  json["max_worker_bytes"] = info.max_worker_bytes;
  json["balance"] = info.balance;
  json["cyclic"] = info.cyclic;
  if (info.has_prediction && !info.cyclic) {
    json["critical_path_instructions"] = info.critical_path.instructions;
    json["critical_path_us"] = info.critical_path.us;
    for (const Prediction& p : info.predictions) {
      json["predictions"].push_back({{"position", p.position},
                                     {"kv_bytes", p.kv_bytes},
                                     {"us", p.us},
                                     {"tokens_per_s", p.tokens_per_s},
                                     {"stream_us", p.stream_us}});
    }
  }
  return json.dump(2, ' ', false,
                   nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace mkvm::scheduler
