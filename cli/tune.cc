// mkvm tune: measures a machine, and finds the shape of target whose programs
// decode fastest on it.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/build_commit.h"
#include "cli/calibrate.h"
#include "cli/date.h"
#include "cli/device.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/model_source.h"
#include "cli/tune_measure.h"
#include "cli/tune_report.h"
#include "cli/verbs.h"
#include "model/weights.h"
#include "scheduler/tune.h"

namespace mkvm::cli {
namespace {

struct TuneFlags {
  std::string target = "auto";
  bool no_calibrate = false;
  std::string model;
  std::string config;
  std::string device = "auto";
  std::optional<int64_t> threads;
  std::string positions;
  std::optional<int64_t> tokens;
  std::optional<int64_t> repetitions;
  std::optional<double> budget_seconds;
  std::optional<double> tie_percent;
  bool json = false;
  std::string out;
};

constexpr int64_t kTokens = 64;
constexpr int64_t kRepetitions = 5;
constexpr double kBudgetSeconds = 600;
constexpr double kTiePercent = 0.5;

Flags MakeFlags(TuneFlags& f) {
  Flags flags(
      "tune [FLAGS] -o FILE.json",
      "Measures this machine's costs, then decodes with one shape of program "
      "after the\nother (workers, transport, KV splits, stages, gemv rows) and "
      "writes the "
      "target of the fastest:\nthe smallest geometric mean, over the "
      "positions, of the time per token. Shapes that\ndon't fit are left out. "
      "Prints a table of what it tried.");
  flags.Add("output,o", &f.out, "FILE.json",
            "the target (- is stdout; the table then goes to stderr)");
  flags.Add("target", &f.target, "auto|NAME|FILE.json",
            "where to begin (auto: the one of the device)");
  flags.Add("no_calibrate", &f.no_calibrate,
            "keep the target's costs, search its shape only");
  flags.Add("model", &f.model, "DIR|synthetic:SEED", "as for run");
  flags.Add("config", &f.config, "NAME",
            "geometry of synthetic weights (qwen3-0.6b on a GPU,\n"
            "qwen3-tiny on the CPU)");
  flags.Add("device", &f.device, "auto|cpu|cuda:K", "as for run");
  flags.Add("threads", &f.threads, "N", "of the CPU machine (one per core)");
  flags.Add("positions", &f.positions, "LIST",
            "where decoding begins (0,512,4096, as far as they fit)");
  flags.Add("num_tokens,n", &f.tokens, "N",
            "decoded in a launch, 8 or more "
            "(64)");
  flags.Add("repetitions,r", &f.repetitions, "N", "launches per position (5)");
  flags.Add("budget_seconds", &f.budget_seconds, "S",
            "the search begins no measurement after S seconds (600)");
  flags.Add("tie_percent", &f.tie_percent, "P",
            "this close the smaller shape wins (0.5)");
  flags.Add("json", &f.json, "JSON instead of the table");
  return flags;
}

absl::Status CheckFlags(const TuneFlags& f) {
  constexpr int64_t kMax = 1 << 20;
  if (f.out.empty()) return UsageError("tune needs -o FILE.json");
  const int64_t tokens = f.tokens.value_or(kTokens);
  if (tokens < 8 || tokens > kMax) {
    return UsageError(absl::StrCat("--num_tokens is not in [8, ", kMax, "]"));
  }
  const int64_t repetitions = f.repetitions.value_or(kRepetitions);
  if (repetitions < 1 || repetitions > kMax) {
    return UsageError(absl::StrCat("--repetitions is not in [1, ", kMax, "]"));
  }
  if (!(f.budget_seconds.value_or(1) > 0)) {
    return UsageError("--budget_seconds is not above 0");
  }
  const double tie = f.tie_percent.value_or(kTiePercent);
  if (!(tie >= 0 && tie < 100)) {
    return UsageError("--tie_percent is not in [0, 100)");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int64_t>> Positions(const TuneFlags& f,
                                               const model::Config& config) {
  const int64_t last =
      int64_t{config.max_positions} - f.tokens.value_or(kTokens);
  std::vector<int64_t> positions;
  if (f.positions.empty()) {
    for (const int64_t position : {0, 512, 4096}) {
      if (position <= last) positions.push_back(position);
    }
    if (!positions.empty()) return positions;
    return UsageError(
        absl::StrFormat("--num_tokens is more than the model's %d positions",
                        config.max_positions));
  }
  for (const absl::string_view piece : absl::StrSplit(f.positions, ',')) {
    int64_t position;
    if (!absl::SimpleAtoi(piece, &position) || position < 0 ||
        position > last) {
      return UsageError(absl::StrFormat(
          "--positions: \"%s\" is not in [0, %d]: %d tokens are decoded and "
          "the model has %d positions",
          piece, last, f.tokens.value_or(kTokens), config.max_positions));
    }
    positions.push_back(position);
  }
  return positions;
}

// The machine, and where the search begins.
struct Start {
  Device device;
  int threads = 1;
  scheduler::Target base;
};

absl::StatusOr<Start> MakeStart(const TuneFlags& f) {
  Start start;
  const absl::StatusOr<int> threads = ThreadCount(f.threads);
  if (!threads.ok()) return threads.status();
  start.threads = *threads;
  absl::StatusOr<Device> device = ChooseDevice(f.device);
  if (!device.ok()) return device.status();
  start.device = *std::move(device);
  absl::StatusOr<scheduler::Target> base =
      f.target == "auto" ? TargetOf(start.device) : ChooseTarget(f.target);
  if (!base.ok()) return base.status();
  start.base = *std::move(base);
  if (start.device.gpu) {
    // More stages than this GPU holds must not look as if they fit: the
    // machine would run fewer.
    const uint64_t bytes = start.device.gpu_info.shared_memory_bytes;
    uint64_t& limit = start.base.shared_memory_bytes;
    limit = limit == 0 ? bytes : std::min(limit, bytes);
  }
  return start;
}

absl::StatusOr<std::shared_ptr<model::Weights>> OpenWeights(
    const TuneFlags& f, const Device& device) {
  Geometry geometry;
  geometry.config = f.config;
  geometry.default_config = DefaultConfig(device);
  absl::StatusOr<std::unique_ptr<model::Weights>> weights =
      OpenModel(f.model, geometry);
  if (!weights.ok()) return weights.status();
  // Made-up weights are made now, before anything is timed.
  for (const std::string& name : (*weights)->names()) {
    if (absl::Status s = (*weights)->Get(name).status(); !s.ok()) return s;
  }
  return std::shared_ptr<model::Weights>(*std::move(weights));
}

void PrintMeasured(const scheduler::TuneCandidate& candidate,
                   absl::Span<const scheduler::TuneKey> keys) {
  const std::string shape = scheduler::DescribeShape(candidate.target, keys);
  if (!candidate.status.ok()) {
    absl::FPrintF(stderr, "%s: left out: %s\n", shape,
                  candidate.status.message());
    return;
  }
  absl::FPrintF(stderr, "%s: %s us, mean %.1f us\n", shape,
                absl::StrJoin(candidate.samples.back(), ", ",
                              [](std::string* out, double us) {
                                absl::StrAppendFormat(out, "%.1f", us);
                              }),
                candidate.mean_us);
}

absl::Status Search(const TuneFlags& f, const scheduler::Target& base,
                    const std::shared_ptr<model::Weights>& weights,
                    TuneReport& report) {
  const auto begin = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         begin)
        .count();
  };
  scheduler::TuneOptions options;
  options.tolerance = report.tolerance;
  options.budget_seconds = f.budget_seconds.value_or(kBudgetSeconds);
  options.elapsed_seconds = elapsed;
  options.on_measured = [&](const scheduler::TuneCandidate& candidate) {
    PrintMeasured(candidate, report.plan.keys);
  };
  TuneMeasurer measurer(report.plan, weights);
  options.identity = [&](const scheduler::Target& target) {
    return measurer.ProgramOf(target);
  };
  absl::StatusOr<scheduler::TuneResult> result = scheduler::Tune(
      base, report.plan.keys,
      [&](const scheduler::Target& target) { return measurer.Measure(target); },
      options);
  if (!result.ok()) return result.status();
  report.result = *std::move(result);
  report.seconds = elapsed();
  return absl::OkStatus();
}

TuneReport DescribeRun(Args args, const TuneFlags& f, const Start& start,
                       const model::Weights& weights) {
  TuneReport report;
  report.command = absl::StrCat("mkvm tune ", absl::StrJoin(args, " "));
  report.date_utc = DateUtc();
  report.version = MKVM_VERSION;
  report.commit = kBuildCommit;
  report.hardware = HardwareName(start.device);
  report.model = weights.config().name;
  report.weights = weights.description();
  report.tolerance = f.tie_percent.value_or(kTiePercent) / 100;
  const auto processors =
      start.device.gpu
          ? static_cast<uint32_t>(start.device.gpu_info.multiprocessors)
          : static_cast<uint32_t>(start.threads);
  report.plan = {
      .device = start.device,
      .threads = start.threads,
      .positions = {},
      .tokens = f.tokens.value_or(kTokens),
      .repetitions = static_cast<int>(f.repetitions.value_or(kRepetitions)),
      .keys = scheduler::TuneKeys(start.base, processors)};
  return report;
}

// Even when tokens differed the table and the best of the others are worth
// having; the exit code then says so.
absl::Status Write(const TuneFlags& f, const TuneReport& report,
                   absl::string_view base_notes) {
  const scheduler::Target tuned = TunedTarget(report, base_notes);
  const std::string text =
      f.json ? TuneJson(report, tuned) : TuneMarkdown(report);
  std::fputs(text.c_str(), f.out == "-" ? stderr : stdout);
  if (absl::Status s = WriteFile(f.out, scheduler::TargetToJson(tuned));
      !s.ok()) {
    return s;
  }
  return TuneVerdict(report);
}

}  // namespace

absl::Status TuneVerb(Args args) {
  TuneFlags f;
  Flags flags = MakeFlags(f);
  absl::StatusOr<std::vector<std::string>> none = flags.Parse(args, 0, 0);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!none.ok()) return none.status();
  if (absl::Status s = CheckFlags(f); !s.ok()) return s;
  absl::StatusOr<Start> start = MakeStart(f);
  if (!start.ok()) return start.status();
  const absl::StatusOr<std::shared_ptr<model::Weights>> weights =
      OpenWeights(f, start->device);
  if (!weights.ok()) return weights.status();
  TuneReport report = DescribeRun(args, f, *start, **weights);
  absl::StatusOr<std::vector<int64_t>> positions =
      Positions(f, (*weights)->config());
  if (!positions.ok()) return positions.status();
  report.plan.positions = *std::move(positions);

  if (!f.no_calibrate) {
    absl::StatusOr<scheduler::Target> calibrated =
        Calibrate({.device = start->device,
                   .threads = start->threads,
                   .base = start->base,
                   .traces = {}});
    if (!calibrated.ok()) return calibrated.status();
    start->base = *std::move(calibrated);
  }
  if (absl::Status s = Search(f, start->base, *weights, report); !s.ok()) {
    return s;
  }
  return Write(f, report, start->base.notes);
}

}  // namespace mkvm::cli
