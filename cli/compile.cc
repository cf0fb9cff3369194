// mkvm compile: a model's geometry and a target -> a program.
#include "cli/compile.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/verbs.h"
#include "scheduler/compile.h"

namespace mkvm::cli {
namespace {

struct CompileFlags {
  std::string model;
  std::string config;
  std::string target = "auto";
  std::optional<int64_t> workers;
  std::optional<int64_t> max_context;
  bool logits = false;
  bool no_fuse = false;
  bool no_split_kv = false;
  std::string dump;
  std::string out;
};

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
  flags.Add("no_fuse", &f.no_fuse, "one op per instruction");
  flags.Add("no_split_kv", &f.no_split_kv, "one attention worker per kv head");
  flags.Add("dump", &f.dump, "graph|tiles|placement|queues",
            "print what a pass made, to stdout");
  flags.Add("output,o", &f.out, "FILE",
            "the program; text if it ends in .mkasm");
  return flags;
}

absl::Status CheckFlags(const CompileFlags& f) {
  if (f.model.empty() == f.config.empty()) {
    return UsageError(
        "compile needs --model DIR or --config NAME, one of them");
  }
  if (f.out.empty() && f.dump.empty()) {
    return UsageError("compile needs -o FILE (or --dump)");
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

}  // namespace

absl::StatusOr<isa::Program> CompileFor(const model::Config& config,
                                        const Device& device, int64_t positions,
                                        bool logits) {
  if (positions > config.max_positions) {
    return absl::OutOfRangeError(
        absl::StrFormat("%d positions are needed, but the model has %d",
                        positions, config.max_positions));
  }
  absl::StatusOr<scheduler::Target> target = TargetOf(device);
  if (!target.ok()) return target.status();
  constexpr int64_t kStep = 1024;
  const int64_t rounded = (positions + kStep - 1) / kStep * kStep;
  scheduler::CompileOptions options;
  options.max_context =
      static_cast<uint32_t>(std::min<int64_t>(rounded, config.max_positions));
  options.logits = logits;
  return scheduler::Compile(config, *target, options);
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

  absl::StatusOr<model::Config> config = f.config.empty()
                                             ? model::LoadConfig(f.model)
                                             : model::FindConfig(f.config);
  if (!config.ok()) return config.status();
  absl::StatusOr<scheduler::Target> target = ChooseTarget(f.target);
  if (!target.ok()) return target.status();
  if (f.workers) target->workers = static_cast<uint32_t>(*f.workers);
  scheduler::CompileOptions options;
  options.max_context = static_cast<uint32_t>(f.max_context.value_or(0));
  options.logits = f.logits;
  options.fuse = !f.no_fuse;
  options.split_kv = !f.no_split_kv;

  scheduler::Dumps dumps;
  absl::StatusOr<isa::Program> program =
      f.dump.empty()
          ? scheduler::Compile(*config, *target, options)
          : scheduler::CompileWithDumps(*config, *target, options, dumps);
  if (!program.ok()) return program.status();
  if (!f.dump.empty()) std::fputs(PickDump(dumps, f.dump).c_str(), stdout);
  if (f.out.empty()) return absl::OkStatus();
  if (absl::Status s = WriteProgram(f.out, *program); !s.ok()) return s;
  absl::FPrintF(stderr, "%s: %s for %s: %d instructions on %d workers\n", f.out,
                program->model, program->target.name,
                isa::NumInstructions(*program), program->num_workers());
  return absl::OkStatus();
}

}  // namespace mkvm::cli
