#include "cli/bench_run.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/bench_interpretation.h"
#include "cli/bench_machine.h"
#include "cli/bench_measure.h"
#include "cli/compile.h"
#include "cli/decoder.h"
#include "cli/io.h"
#include "cli/model_source.h"
#include "cli/stream.h"

namespace mkvm::cli {
namespace {

constexpr int kStreamRepeats = 9;
constexpr std::chrono::milliseconds kSampleInterval(50);

// A program with its weights.
struct Source {
  std::string name;
  isa::Program compiled;  // with its own transport; Compile makes it
  std::shared_ptr<model::Weights> weights;
};

absl::StatusOr<Source> OpenSource(const BenchRun& bench,
                                  const std::string& config) {
  Source source;
  Geometry geometry;
  const std::string& path = bench.flags.program;
  if (!path.empty()) {
    absl::StatusOr<isa::Program> program = ReadProgram(path);
    if (!program.ok()) return program.status();
    if (absl::Status s = CheckProgram(*program, path); !s.ok()) return s;
    if (!IsDecodeProgram(*program)) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, " was not compiled from a model; bench measures decoding"));
    }
    const int64_t max_context = MaxContextTokens(*program);
    if (bench.plan.positions() > max_context) {
      return absl::OutOfRangeError(absl::StrFormat(
          "the tests need %d positions, but %s has %d; compile it with a "
          "larger --max_context",
          bench.plan.positions(), path, max_context));
    }
    source.name = path;
    source.compiled = *std::move(program);
    geometry.program = &source.compiled;
    geometry.program_path = path;
  }
  geometry.config = config;
  geometry.default_config = DefaultConfig(bench.device);
  absl::StatusOr<std::unique_ptr<model::Weights>> weights =
      OpenModel(bench.flags.model, geometry);
  if (!weights.ok()) return weights.status();
  source.weights = *std::move(weights);
  // Made-up weights are made now, so that loading is loading.
  for (const std::string& name : source.weights->names()) {
    if (absl::Status s = source.weights->Get(name).status(); !s.ok()) return s;
  }
  if (path.empty()) source.name = source.weights->config().name;
  return source;
}

scheduler::CompileOptions CompileOptionsOf(const BenchRun& bench) {
  scheduler::CompileOptions options;
  bench.ablations.ApplyTo(options);
  return options;
}

// Compiles the source's program, unless it came from a file.
absl::Status Compile(const BenchRun& bench, Source& source) {
  if (!bench.flags.program.empty()) return absl::OkStatus();
  absl::StatusOr<isa::Program> program =
      CompileFor(source.weights->config(), bench.device, bench.plan.positions(),
                 false, CompileOptionsOf(bench));
  if (!program.ok()) return program.status();
  source.compiled = *std::move(program);
  return absl::OkStatus();
}

// Makes the machine that is measured and says how long loading took.
absl::StatusOr<BenchMachine> Load(const BenchRun& bench, const Source& source,
                                  isa::Program program, int threads,
                                  BenchSetup& setup) {
  setup.model = source.name;
  setup.weights = source.weights->description();
  setup.workers = program.num_workers();
  if (!bench.device.gpu) {
    setup.threads = std::min(threads, static_cast<int>(setup.workers));
  }
  setup.max_context = MaxContextTokens(program);
  setup.weight_bytes = source.weights->total_bytes();
  setup.loading_copies = bench.device.gpu.has_value();
  const auto begin = std::chrono::steady_clock::now();
  absl::StatusOr<BenchMachine> machine = BenchMachine::Create(
      bench.device, std::move(program), source.weights, threads);
  const std::chrono::duration<double> elapsed =
      std::chrono::steady_clock::now() - begin;
  if (!machine.ok()) return machine;
  setup.load_seconds = elapsed.count();
  setup.machine = machine->machine().description();
  return machine;
}

// A row, and the tokens that it gave.
struct Measured {
  BenchRow row;
  Measurement measurement;
};

Measured MeasureRow(const BenchRun& bench, BenchMachine& machine,
                    const BenchTest& test) {
  Measured measured;
  measured.row.setup = bench.report.setups.size();
  measured.row.test = test;
  vm::GpuSampler sampler([&] { return bench.monitor.Read(); }, kSampleInterval);
  absl::StatusOr<Measurement> measurement =
      Measure(test, bench.plan.repetitions, bench.plan.warm_up,
              [&](const BenchTest& t, int64_t passes) {
                return machine.Launch(t, passes);
              });
  const vm::GpuState gpu = sampler.Stop();
  if (!measurement.ok()) {
    Refuse(measurement.status(), measured.row);
    return measured;
  }
  BenchFigures figures;
  figures.us = Summarize(measurement->us);
  figures.samples_us = measurement->us;
  if (!measurement->steady_us.empty()) {
    const double steady_us = Summarize(measurement->steady_us).median;
    // Noise can exceed a difference of two launches; then there is no figure.
    if (steady_us > 0) figures.steady_us = steady_us;
  }
  figures.bytes_per_token = BytesPerToken(machine.machine().program(), test);
  figures.gpu = gpu;
  measured.row.figures = std::move(figures);
  measured.measurement = *std::move(measurement);
  const std::string ablations = bench.ablations.Name();
  absl::FPrintF(stderr, "%s%s: %.1f us\n", BenchTestName(test),
                ablations == "none" ? "" : absl::StrCat(", ", ablations),
                measured.row.figures->us.median);
  return measured;
}

// Every row again on the reference, in the same order, so that the KV cache
// holds the same. Rows whose tokens are others lose their figures.
absl::Status CheckRows(const BenchRun& bench, const Source& source,
                       const std::string& transport, int threads,
                       std::vector<Measured>& rows) {
  absl::StatusOr<Reference> reference =
      MakeReference(source.compiled, transport, bench.device, threads);
  if (!reference.ok()) return reference.status();
  absl::StatusOr<BenchMachine> machine =
      BenchMachine::Create(reference->device, std::move(reference->program),
                           source.weights, reference->threads);
  if (!machine.ok()) return machine.status();
  for (Measured& measured : rows) {
    BenchRow& row = measured.row;
    const absl::StatusOr<Launched> launched =
        machine->Launch(row.test, row.test.tokens);
    if (!row.figures) continue;
    const absl::StatusOr<std::string> check =
        CheckAgainst(measured.measurement, launched, reference->name);
    if (check.ok()) {
      row.check = absl::StrCat(*check, "; tiny = CPU");
    } else {
      Refuse(check.status(), row);
    }
  }
  return absl::OkStatus();
}

// nullopt if memory is too short for its buffer now, or it failed otherwise.
std::optional<double> StreamBesideWeights(const BenchRun& bench) {
  const absl::StatusOr<double> stream =
      MeasureStream(bench.device, bench.plan.max_threads(), kStreamRepeats);
  if (stream.ok()) return *stream;
  absl::FPrintF(stderr, "no stream beside the weights: %s\n",
                stream.status().message());
  return std::nullopt;
}

absl::Status RunSetup(const BenchRun& bench, const Source& source,
                      const std::string& transport, int threads) {
  absl::StatusOr<isa::Program> program =
      WithTransport(source.compiled, transport);
  if (!program.ok()) return program.status();
  if (absl::Status s = CheckProgram(*program, "the program"); !s.ok()) return s;
  BenchSetup setup;
  setup.ablations = bench.ablations.Name();
  setup.transport = transport;
  std::vector<Measured> rows;
  {
    // Gone before the reference comes: both may not fit.
    absl::StatusOr<BenchMachine> machine =
        Load(bench, source, *std::move(program), threads, setup);
    if (!machine.ok()) return machine.status();
    std::optional<double> before = StreamBesideWeights(bench);
    for (const BenchTest& test : bench.plan.tests) {
      rows.push_back(MeasureRow(bench, *machine, test));
      const std::optional<double> after = StreamBesideWeights(bench);
      if (before && after) {
        rows.back().row.stream = {.before = *before, .after = *after};
      }
      before = after;
    }
  }
  absl::Status checked = CompareWithCheckingMachine(
      bench.device, transport, threads, CompileOptionsOf(bench));
  if (checked.ok()) {
    checked = CheckRows(bench, source, transport, threads, rows);
  }
  bench.report.setups.push_back(std::move(setup));
  for (Measured& measured : rows) {
    if (!checked.ok() && measured.row.figures) Refuse(checked, measured.row);
    bench.report.rows.push_back(std::move(measured.row));
  }
  return absl::OkStatus();
}

// The setups with these ablations.
absl::Status RunAblation(const BenchRun& bench, const AblationFlags& ablations,
                         Source& source) {
  Device device = bench.device;
  if (absl::Status s = ablations.ApplyTo(device); !s.ok()) return s;
  const BenchRun with = {bench.flags,   bench.plan,   device,
                         bench.monitor, bench.report, ablations};
  if (absl::Status s = Compile(with, source); !s.ok()) return s;
  for (const std::string& transport : bench.plan.transports) {
    for (const int count : bench.plan.threads) {
      if (absl::Status s = RunSetup(with, source, transport, count); !s.ok()) {
        return s;
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunBench(const BenchRun& bench) {
  const int threads = bench.plan.max_threads();
  absl::StatusOr<double> stream =
      MeasureStream(bench.device, threads, kStreamRepeats);
  if (!stream.ok()) return stream.status();
  bench.report.stream.before = *stream;
  for (const std::string& config : bench.plan.configs) {
    absl::StatusOr<Source> source = OpenSource(bench, config);
    if (!source.ok()) return source.status();
    for (const AblationFlags& ablations : bench.plan.ablations) {
      if (absl::Status s = RunAblation(bench, ablations, *source); !s.ok()) {
        return s;
      }
    }
  }
  stream = MeasureStream(bench.device, threads, kStreamRepeats);
  if (!stream.ok()) return stream.status();
  bench.report.stream.after = *stream;
  return absl::OkStatus();
}

absl::Status RunInterpretation(const BenchRun& bench) {
  for (const AblationFlags& ablations : bench.plan.ablations) {
    Device device = bench.device;
    if (absl::Status s = ablations.ApplyTo(device); !s.ok()) return s;
    for (const int threads : bench.plan.threads) {
      for (const NopProgram& program : NopPrograms(device, threads)) {
        vm::GpuSampler sampler([&] { return bench.monitor.Read(); },
                               kSampleInterval);
        absl::StatusOr<InterpretationRow> row =
            MeasureNops(program, device, threads, bench.plan.repetitions,
                        bench.plan.warm_up);
        if (!row.ok()) return row.status();
        row->gpu = sampler.Stop();
        row->ablations = ablations.Name();
        bench.report.interpretation.push_back(*std::move(row));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status RunRoofline(const BenchRun& bench) {
  std::vector<double> streams;
  vm::GpuSampler sampler([&] { return bench.monitor.Read(); }, kSampleInterval);
  for (int i = 0; i < bench.plan.repetitions; ++i) {
    const absl::StatusOr<double> stream =
        MeasureStream(bench.device, bench.plan.max_threads(), kStreamRepeats);
    if (!stream.ok()) return stream.status();
    streams.push_back(*stream);
  }
  bench.report.roofline_gpu = sampler.Stop();
  bench.report.roofline = Summarize(std::move(streams));
  return absl::OkStatus();
}

}  // namespace mkvm::cli
