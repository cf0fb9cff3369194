// mkvm calibrate: measures a machine and writes the target that describes it.
//
// A few short decodes are traced, of geometries cut to two layers and at
// several positions, so that what the costs depend on varies; the scheduler
// fits the costs to the traces (scheduler/calibrate.h).
#include "cli/calibrate.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/decoder.h"
#include "cli/device.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/stream.h"
#include "cli/verbs.h"
#include "model/weights.h"
#include "scheduler/calibrate.h"
#include "scheduler/compile.h"

namespace mkvm::cli {
namespace {

// One program, traced from each of the positions.
struct Experiment {
  std::string config;
  uint32_t max_layers;      // the geometry's, cut to this
  uint32_t max_vocabulary;  // likewise
  uint32_t max_kv_splits;   // the target's, cut to this
  const char* transport;    // "tagged" or "counters"
  std::vector<int64_t> positions;
};

constexpr int64_t kWarmUpPasses = 4;  // stages and slots fill, clocks settle
constexpr int64_t kTracedPasses = 8;
// Timed without a trace, as the difference to a run without them, so that
// neither recording nor launching is in the time.
constexpr int64_t kTimedPasses = 40;
constexpr int kStreamRepeats = 9;
constexpr uint32_t kUncut = 0xffffffffu;

// scheduler/calibrate.h says what has to vary.
std::vector<Experiment> Experiments(const Device& device) {
  if (!device.gpu) {
    return {{"qwen3-tiny", 2, kUncut, kUncut, "counters", {0, 200}},
            {"qwen3-0.6b", 2, 8192, kUncut, "counters", {0, 200}}};
  }
  // Six layers: at position 4000 their KV cache is larger than an L2 cache.
  return {{"qwen3-0.6b", 6, kUncut, kUncut, "tagged", {0, 500, 4000}},
          {"qwen3-0.6b", 2, kUncut, 4, "tagged", {500, 2000}},
          {"qwen3-0.6b", 2, 32768, kUncut, "counters", {0}},
          {"qwen3-1.7b", 2, 32768, kUncut, "tagged", {0, 500}},
          {"qwen3-4b", 2, 32768, kUncut, "tagged", {0, 500}}};
}

struct CalibrateFlags {
  std::string device = "auto";
  std::string out;
  std::string traces;
  std::optional<int64_t> threads;
};

Flags MakeFlags(CalibrateFlags& f) {
  Flags flags("calibrate [--device D] -o FILE.json",
              "Measures this machine (its stream of weights, the way from one "
              "worker to another,\nthe ops) and writes the target file that "
              "`mkvm compile --target FILE.json` and\n`mkvm info` take.");
  flags.Add("output,o", &f.out, "FILE.json", "the target (- is stdout)");
  flags.Add("device", &f.device, "auto|cpu|cuda:K",
            "auto: a GPU if one works, else the CPU");
  flags.Add("threads", &f.threads, "N", "of the CPU machine (one per core)");
  flags.Add("keep_traces", &f.traces, "PREFIX",
            "also write the traces, as PREFIX0.mkt, PREFIX1.mkt, ...");
  return flags;
}

absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(
    const Experiment& experiment, const scheduler::Target& target,
    const Calibration& calibration) {
  absl::StatusOr<model::Config> config = model::FindConfig(experiment.config);
  if (!config.ok()) return config.status();
  config->num_layers = std::min(config->num_layers, experiment.max_layers);
  config->vocab_size = std::min(config->vocab_size, experiment.max_vocabulary);
  config->eos_token_ids.clear();
  scheduler::Target cut = target;
  cut.max_kv_splits = std::min(cut.max_kv_splits, experiment.max_kv_splits);
  scheduler::CompileOptions options;
  options.max_context = static_cast<uint32_t>(
      std::max(experiment.positions.back() + kWarmUpPasses + kTimedPasses + 1,
               int64_t{1024}));
  absl::StatusOr<isa::Program> program =
      scheduler::Compile(*config, cut, options);
  if (!program.ok()) return program.status();
  program = WithTransport(*std::move(program), experiment.transport);
  if (!program.ok()) return program.status();
  if (absl::Status s = CheckProgram(*program, "the calibration's program");
      !s.ok()) {
    return s;
  }
  return Decoder::Create(calibration.device, *std::move(program),
                         model::MakeSynthetic(*config, 1), calibration.threads);
}

// `passes` passes from `position` on; the KV cache before it holds zeros, which
// take as long to read as anything.
absl::StatusOr<vm::RunResult> RunAt(Decoder& decoder, int64_t position,
                                    int64_t passes,
                                    std::optional<vm::TraceOptions> trace) {
  const int64_t end = MaxContextTokens(decoder.machine().program());
  if (absl::Status s = decoder.SetTokens({1}, 1, end, {}); !s.ok()) return s;
  vm::RunOptions options;
  options.first_position = position;
  options.max_passes = passes;
  options.watchdog_seconds = 60;
  options.trace = trace;
  return decoder.machine().Run(options);
}

// Microseconds of a pass from `position` on.
absl::StatusOr<double> TimeAt(Decoder& decoder, int64_t position) {
  constexpr int kRepeats = 5;
  std::vector<double> times;
  for (int i = 0; i < kRepeats; ++i) {
    double seconds[2] = {};
    for (int longer = 0; longer < 2; ++longer) {
      const absl::StatusOr<vm::RunResult> result =
          RunAt(decoder, position, kWarmUpPasses + longer * kTimedPasses, {});
      if (!result.ok()) return result.status();
      seconds[longer] = result->seconds;
    }
    times.push_back((seconds[1] - seconds[0]) * 1e6 / kTimedPasses);
  }
  std::sort(times.begin(), times.end());
  return times[kRepeats / 2];
}

absl::StatusOr<trace::Trace> TraceAt(Decoder& decoder, int64_t position) {
  absl::StatusOr<vm::RunResult> result =
      RunAt(decoder, position, kWarmUpPasses + kTracedPasses,
            vm::TraceOptions{.first_pass = kWarmUpPasses});
  if (!result.ok()) return result.status();
  if (result->trace->dropped > 0) {
    return absl::InternalError("a calibration trace does not fit its buffer");
  }
  return *std::move(result->trace);
}

absl::Status RunExperiment(const Experiment& experiment,
                           const scheduler::Target& target,
                           const Calibration& calibration,
                           std::vector<trace::Trace>& traces,
                           std::vector<double>& pass_us) {
  absl::StatusOr<std::unique_ptr<Decoder>> decoder =
      MakeDecoder(experiment, target, calibration);
  if (!decoder.ok()) return decoder.status();
  for (const int64_t position : experiment.positions) {
    absl::StatusOr<trace::Trace> trace = TraceAt(**decoder, position);
    if (!trace.ok()) return trace.status();
    const absl::StatusOr<double> us = TimeAt(**decoder, position);
    if (!us.ok()) return us.status();
    pass_us.push_back(*us);
    trace->command =
        absl::StrCat("mkvm calibrate: ", experiment.config, ", ",
                     experiment.max_layers, " layers, ", experiment.transport,
                     ", position ", position + kWarmUpPasses);
    trace->stream_gb_per_s = target.stream_gb_per_s;
    absl::FPrintF(stderr, "%s: %.1f us per pass, traced %d instructions\n",
                  trace->command, *us, trace->events.size());
    if (!calibration.traces.empty()) {
      const std::string path =
          absl::StrCat(calibration.traces, traces.size(), ".mkt");
      if (absl::Status s = WriteFile(path, trace::Serialize(*trace)); !s.ok()) {
        return s;
      }
    }
    traces.push_back(*std::move(trace));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<scheduler::Target> Calibrate(const Calibration& calibration) {
  scheduler::Target target = calibration.base;
  const absl::StatusOr<double> stream =
      MeasureStream(calibration.device, calibration.threads, kStreamRepeats);
  if (!stream.ok()) return stream.status();
  target.stream_gb_per_s = *stream;
  absl::FPrintF(stderr, "stream: %.1f GB/s\n", *stream);

  std::vector<trace::Trace> traces;
  std::vector<double> pass_us;
  for (const Experiment& experiment : Experiments(calibration.device)) {
    if (absl::Status s =
            RunExperiment(experiment, target, calibration, traces, pass_us);
        !s.ok()) {
      return s;
    }
  }
  absl::StatusOr<scheduler::Target> fitted =
      scheduler::Fit(traces, target, pass_us);
  if (!fitted.ok()) return fitted.status();
  fitted->stream_gb_per_s = *stream;
  fitted->notes =
      absl::StrCat("measured by mkvm calibrate on ", traces.front().machine);
  return fitted;
}

absl::Status CalibrateVerb(Args args) {
  CalibrateFlags f;
  Flags flags = MakeFlags(f);
  absl::StatusOr<std::vector<std::string>> none = flags.Parse(args, 0, 0);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!none.ok()) return none.status();
  if (f.out.empty()) return UsageError("calibrate needs -o FILE.json");
  const absl::StatusOr<int> threads = ThreadCount(f.threads);
  if (!threads.ok()) return threads.status();
  absl::StatusOr<Device> device = ChooseDevice(f.device);
  if (!device.ok()) return device.status();
  absl::StatusOr<scheduler::Target> base = TargetOf(*device);
  if (!base.ok()) return base.status();
  const absl::StatusOr<scheduler::Target> target =
      Calibrate({.device = *std::move(device),
                 .threads = *threads,
                 .base = *std::move(base),
                 .traces = f.traces});
  if (!target.ok()) return target.status();
  return WriteFile(f.out, scheduler::TargetToJson(*target));
}

}  // namespace mkvm::cli
