#include "cli/trace_flags.h"

#include <cstdio>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "cli/io.h"
#include "trace/trace.h"

namespace mkvm::cli {
namespace {

constexpr int64_t kDefaultBufferMb = 256;
constexpr int64_t kMostBufferMb = 1 << 20;

}  // namespace

absl::StatusOr<Range> ParseRange(absl::string_view text,
                                 absl::string_view what) {
  const absl::Status bad = UsageError(
      absl::StrCat(what, ": \"", text, "\" is not A..B with 0 <= A < B"));
  const std::vector<absl::string_view> ends =
      absl::StrSplit(text, absl::MaxSplits("..", 1));
  if (ends.size() != 2) return bad;
  Range range;
  int64_t end = 0;
  if (!ends[0].empty() && !absl::SimpleAtoi(ends[0], &range.begin)) return bad;
  if (!ends[1].empty()) {
    if (!absl::SimpleAtoi(ends[1], &end)) return bad;
    range.end = end;
  }
  if (range.begin < 0 || (range.end && *range.end <= range.begin)) return bad;
  return range;
}

void TraceFlags::AddTo(Flags& flags) {
  flags.Add("trace", &file, "FILE.mkt",
            "record every instruction; `mkvm trace FILE.mkt` reads it");
  flags.Add("trace_tokens", &tokens, "A..B",
            "record the passes at positions A to B-1 (all)");
  flags.Add("trace_buffer_mb", &buffer_mb, "N",
            "memory for the record; recording ends when it is full (256)");
}

absl::Status TraceFlags::Check() const {
  if (file.empty()) {
    if (tokens.empty() && !buffer_mb) return absl::OkStatus();
    return UsageError(
        absl::StrCat("--", tokens.empty() ? "trace_buffer_mb" : "trace_tokens",
                     " needs --trace FILE.mkt"));
  }
  if (buffer_mb && (*buffer_mb < 1 || *buffer_mb > kMostBufferMb)) {
    return UsageError("--trace_buffer_mb is out of range");
  }
  if (tokens.empty()) return absl::OkStatus();
  return ParseRange(tokens, "--trace_tokens").status();
}

std::optional<vm::TraceOptions> TraceFlags::Options() const {
  if (file.empty()) return std::nullopt;
  vm::TraceOptions options;
  options.max_bytes =
      static_cast<uint64_t>(buffer_mb.value_or(kDefaultBufferMb)) << 20;
  if (!tokens.empty()) {
    const absl::StatusOr<Range> range = ParseRange(tokens, "--trace_tokens");
    options.first_pass = range->begin;
    if (range->end) options.end_pass = *range->end;
  }
  return options;
}

absl::Status TraceFlags::Save(vm::RunResult& result,
                              absl::string_view command) const {
  if (!result.trace) return absl::OkStatus();
  trace::Trace& trace = *result.trace;
  trace.command = std::string(command);
  if (absl::Status s = WriteFile(file, trace::Serialize(trace)); !s.ok()) {
    return s;
  }
  absl::FPrintF(stderr, "%s: %d instructions of %d passes from position %d\n",
                file, trace.events.size(), trace.num_passes,
                trace.first_position + trace.first_pass);
  if (trace.events.empty()) {
    absl::FPrintF(stderr,
                  "%s: the run had no pass in --trace_tokens %s, so nothing "
                  "was recorded\n",
                  file, tokens);
  }
  if (trace.dropped > 0) {
    absl::FPrintF(stderr,
                  "%s: the buffer was full; %d instructions were not recorded "
                  "(choose fewer passes with --trace_tokens A..B, or a larger "
                  "--trace_buffer_mb)\n",
                  file, trace.dropped);
  }
  return absl::OkStatus();
}

}  // namespace mkvm::cli
