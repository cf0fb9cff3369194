#include "trace/csv.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "isa/opcode_table.h"

namespace mkvm::trace {
namespace {

constexpr size_t kPieceBytes = 1 << 20;

void AppendText(absl::string_view text, std::string& out) {
  if (text.find_first_of(",\"\r\n") == absl::string_view::npos) {
    absl::StrAppend(&out, ",", text);
    return;
  }
  out += ",\"";
  for (const char c : text) {
    if (c == '"') out += c;
    out += c;
  }
  out += '"';
}

void AppendTime(Nanos time, std::string& out) {
  out += ',';
  if (time != kNever) absl::StrAppend(&out, time);
}

void AppendEvent(const Dependencies& dependencies, const Phases& phases,
                 EventIndex index, std::string& out) {
  const Trace& trace = dependencies.trace();
  const isa::Program& program = trace.program;
  const Event& e = trace.events[index];
  const isa::Instruction& instruction = program.queues[e.worker][e.pc];
  const isa::OpcodeInfo* info = isa::FindOpcode(instruction.opcode);
  absl::StrAppend(&out, e.pass, ",", e.worker, ",", e.pc);
  AppendText(info == nullptr ? "" : info->name, out);
  AppendText(Name(trace, e), out);
  AppendText(phases.kinds()[phases.KindOf(e)], out);
  absl::StrAppend(&out, ",", e.bytes);
  for (const Nanos time :
       {e.fetched, e.load_begin, e.load_end, e.visited, e.waited, e.poll_begin,
        e.ready, e.stage_ready, e.done, e.signaled}) {
    AppendTime(time, out);
  }
  absl::StrAppend(&out, ",", e.stage_wait, ",", e.operand_wait);
  AppendText(
      e.last_wait < 0
          ? ""
          : program.counters[instruction.waits[e.last_wait].counter].name,
      out);
  AppendText(e.last_buffer == isa::kNoBuffer
                 ? ""
                 : program.buffers[e.last_buffer].name,
             out);
  const Edge edge = dependencies.LastEdge(index);
  if (edge.producer == kNoEvent) {
    out += ",,,\n";
    return;
  }
  const Event& producer = trace.events[edge.producer];
  AppendText(Name(trace, producer), out);
  absl::StrAppend(&out, ",", producer.worker, ",", edge.publish, "\n");
}

}  // namespace

void WriteCsv(const Dependencies& dependencies,
              const std::function<void(absl::string_view)>& write) {
  const Phases phases(dependencies.trace().program);
  std::string piece =
      "pass,worker,pc,opcode,instruction,phase,bytes,fetched,load_begin,"
      "load_end,visited,waited,poll_begin,ready,stage_ready,done,signaled,"
      "stage_wait,operand_wait,last_counter,last_buffer,producer,"
      "producer_worker,published\n";
  const size_t n = dependencies.trace().events.size();
  for (EventIndex i = 0; i < n; ++i) {
    AppendEvent(dependencies, phases, i, piece);
    if (piece.size() < kPieceBytes) continue;
    write(piece);
    piece.clear();
  }
  write(piece);
}

}  // namespace mkvm::trace
