// mkvm compile: a model's geometry and a target -> a program.
#include "cli/compile.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <optional>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/model_folder.h"
#include "cli/verbs.h"
#include "scheduler/compile.h"
#include "scheduler/cost_model.h"
#include "scheduler/simulate.h"
#include "trace/trace.h"

namespace mkvm::cli {
namespace {

struct CompileFlags {
  std::string model;
  std::string config;
  std::string target = "auto";
  std::optional<int64_t> workers;
  std::optional<int64_t> max_context;
  bool logits = false;
  bool sampling = false;
  std::optional<int64_t> logprobs;
  bool no_fuse = false;
  bool no_split_kv = false;
  bool no_attend_alone = false;
  bool nops = false;
  std::string dump;
  std::string simulate;
  std::string positions;
  std::string out;
};

constexpr uint32_t kSimulatedPasses = 4;

Flags MakeFlags(CompileFlags& f) {
  Flags flags("compile (--model DIR | --config NAME) [FLAGS] -o OUT",
              "Compiles the geometry of a Qwen3 model for a target. The "
              "program holds no weights;\nany snapshot of that geometry runs "
              "with it.");
  flags.Add("model", &f.model, "DIR",
            "snapshot folder: its config.json counts");
  flags.Add("config", &f.config, "NAME", "built-in geometry, e.g. qwen3-0.6b");
  flags.Add("target", &f.target, "auto|NAME|FILE.json",
            "machine to schedule for, e.g. h200 (auto: what is here)");
  flags.Add("workers", &f.workers, "N", "instead of the target's own number");
  flags.Add("max_context", &f.max_context, "N",
            "positions (the model's own limit)");
  flags.Add("logits", &f.logits, "also keep the logits, in buffer \"logits\"");
  flags.Add("sampling", &f.sampling,
            "choose tokens by temperature, top_k and so on, as mkvm generate\n"
            "does; without it the most probable one");
  flags.Add("logprobs", &f.logprobs, "N",
            "with --sampling: room for the log-probabilities of the N most\n"
            "probable tokens (0)");
  flags.Add("no_fuse", &f.no_fuse, "one op per instruction");
  flags.Add("no_split_kv", &f.no_split_kv, "one attention worker per kv head");
  flags.Add("no_attend_alone", &f.no_attend_alone,
            "several of them, and a merge, while the context is short too");
  flags.Add("nops", &f.nops, "a nop before every instruction");
  flags.Add("dump", &f.dump, "graph|tiles|placement|queues",
            "print what a pass made, to stdout");
  flags.Add("simulate", &f.simulate, "FILE.mkt",
            "write the trace that the target's costs predict (mkvm trace reads "
            "it), and print the time per token");
  flags.Add("positions", &f.positions, "LIST",
            "of --simulate, the trace at the first (1,512,4096, as far as they "
            "fit)");
  flags.Add("output,o", &f.out, "FILE",
            "the program; text if it ends in .mkasm");
  return flags;
}

absl::Status CheckFlags(const CompileFlags& f) {
  if (f.model.empty() == f.config.empty()) {
    return UsageError(
        "compile needs --model DIR or --config NAME, one of them");
  }
  if (f.out.empty() && f.dump.empty() && f.simulate.empty()) {
    return UsageError("compile needs -o FILE (or --dump or --simulate)");
  }
  if (f.simulate.empty() && !f.positions.empty()) {
    return UsageError("--positions needs --simulate");
  }
  if (f.logprobs && !f.sampling) {
    return UsageError("--logprobs needs --sampling");
  }
  if (f.logprobs &&
      (*f.logprobs < 0 || *f.logprobs > scheduler::kMaxLogprobs)) {
    return UsageError(absl::StrCat("--logprobs is not in [0, ",
                                   scheduler::kMaxLogprobs, "]"));
  }
  constexpr int64_t kMax = std::numeric_limits<uint32_t>::max();
  if (f.workers && (*f.workers < 1 || *f.workers > kMax)) {
    return UsageError("--workers is out of range");
  }
  if (f.max_context && (*f.max_context < 1 || *f.max_context > kMax)) {
    return UsageError("--max_context is out of range");
  }
  for (const char* known : {"", "graph", "tiles", "placement", "queues"}) {
    if (f.dump == known) return absl::OkStatus();
  }
  return UsageError(absl::StrCat("--dump: \"", f.dump,
                                 "\" is not graph, tiles, placement or "
                                 "queues"));
}

const std::string& PickDump(const scheduler::Dumps& dumps,
                            absl::string_view name) {
  if (name == "graph") return dumps.graph;
  if (name == "tiles") return dumps.tiles;
  return name == "placement" ? dumps.placement : dumps.queues;
}

// The positions to predict; all of the passes traced have to fit `context`.
absl::StatusOr<std::vector<uint64_t>> Positions(const CompileFlags& f,
                                                uint64_t context) {
  std::vector<uint64_t> positions;
  if (f.positions.empty()) {
    for (const uint64_t position : {1, 512, 4096}) {
      if (position + kSimulatedPasses <= context) positions.push_back(position);
    }
    if (positions.empty()) positions.push_back(0);
    return positions;
  }
  for (const absl::string_view piece :
       absl::StrSplit(f.positions, ',', absl::SkipEmpty())) {
    uint64_t position;
    if (!absl::SimpleAtoi(piece, &position) || position >= context ||
        position + kSimulatedPasses > context) {
      return UsageError(absl::StrFormat(
          "--positions: \"%s\" is not in [0, %d]: %d passes are simulated and "
          "the context is %d",
          piece, static_cast<int64_t>(context) - int64_t{kSimulatedPasses},
          kSimulatedPasses, context));
    }
    positions.push_back(position);
  }
  if (positions.empty()) return UsageError("--positions: no position");
  return positions;
}

absl::Status WriteSimulation(const CompileFlags& f, const isa::Program& program,
                             const scheduler::Target& target,
                             absl::Span<const uint64_t> positions) {
  absl::StatusOr<trace::Trace> trace = scheduler::Simulate(
      program, target,
      {.first_position = positions.front(), .passes = kSimulatedPasses});
  if (!trace.ok()) return trace.status();
  trace->command =
      absl::StrCat("mkvm compile ",
                   f.config.empty() ? absl::StrCat("--model ", f.model)
                                    : absl::StrCat("--config ", f.config),
                   " --target ", f.target, " --simulate ", f.simulate);
  if (absl::Status s = WriteFile(f.simulate, trace::Serialize(*trace));
      !s.ok()) {
    return s;
  }
  absl::FPrintF(stderr, "%s: %d instructions of %d passes from position %d\n",
                f.simulate, trace->events.size(), trace->num_passes,
                positions.front());
  std::FILE* out = f.simulate == "-" ? stderr : stdout;
  for (const uint64_t position : positions) {
    const double us = scheduler::PredictPassUs(program, target, position);
    absl::FPrintF(out,
                  "position %5d: %9.1f us per token, %7.1f tokens/s "
                  "(predicted)\n",
                  position, us, us > 0 ? 1e6 / us : 0);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<isa::Program> CompileFor(const model::Config& config,
                                        const scheduler::Target& target,
                                        int64_t positions, bool logits,
                                        scheduler::CompileOptions options) {
  if (positions > config.max_positions) {
    return absl::OutOfRangeError(
        absl::StrFormat("%d positions are needed, but the model has %d",
                        positions, config.max_positions));
  }
  constexpr int64_t kStep = 1024;
  const int64_t rounded = (positions + kStep - 1) / kStep * kStep;
  options.max_context =
      static_cast<uint32_t>(std::min<int64_t>(rounded, config.max_positions));
  options.logits = logits;
  return scheduler::Compile(config, target, options);
}

absl::StatusOr<isa::Program> CompileFor(const model::Config& config,
                                        const Device& device, int64_t positions,
                                        bool logits,
                                        scheduler::CompileOptions options) {
  const absl::StatusOr<scheduler::Target> target = TargetOf(device);
  if (!target.ok()) return target.status();
  return CompileFor(config, *target, positions, logits, options);
}

absl::Status CompileVerb(Args args) {
  CompileFlags f;
  Flags flags = MakeFlags(f);
  absl::StatusOr<std::vector<std::string>> none = flags.Parse(args, 0, 0);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!none.ok()) return none.status();
  if (absl::Status s = CheckFlags(f); !s.ok()) return s;

  const absl::StatusOr<std::string> folder = ResolveModel(f.model);
  if (!folder.ok()) return folder.status();
  absl::StatusOr<model::Config> config = f.config.empty()
                                             ? model::LoadConfig(*folder)
                                             : model::FindConfig(f.config);
  if (!config.ok()) return config.status();
  absl::StatusOr<scheduler::Target> target = ChooseTarget(f.target);
  if (!target.ok()) return target.status();
  if (f.workers) target->workers = static_cast<uint32_t>(*f.workers);
  scheduler::CompileOptions options;
  options.max_context = static_cast<uint32_t>(f.max_context.value_or(0));
  options.logits = f.logits;
  options.sampling = f.sampling;
  options.logprobs = static_cast<uint32_t>(f.logprobs.value_or(0));
  options.fuse = !f.no_fuse;
  options.split_kv = !f.no_split_kv;
  options.attend_alone = !f.no_attend_alone;
  options.nops = f.nops;

  scheduler::Dumps dumps;
  absl::StatusOr<isa::Program> program =
      f.dump.empty()
          ? scheduler::Compile(*config, *target, options)
          : scheduler::CompileWithDumps(*config, *target, options, dumps);
  if (!program.ok()) return program.status();
  if (!f.dump.empty()) std::fputs(PickDump(dumps, f.dump).c_str(), stdout);
  if (!f.simulate.empty()) {
    const uint64_t context =
        options.max_context != 0 ? options.max_context : config->max_positions;
    auto positions = Positions(f, context);
    if (!positions.ok()) return positions.status();
    if (absl::Status s = WriteSimulation(f, *program, *target, *positions);
        !s.ok()) {
      return s;
    }
  }
  if (f.out.empty()) return absl::OkStatus();
  if (absl::Status s = WriteProgram(f.out, *program); !s.ok()) return s;
  absl::FPrintF(stderr, "%s: %s for %s: %d instructions on %d workers\n", f.out,
                program->model, program->target.name,
                isa::NumInstructions(*program), program->num_workers());
  return absl::OkStatus();
}

}  // namespace mkvm::cli
