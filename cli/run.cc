// mkvm run: a program on a machine.
//
// Decode programs (compiled from a model) get their weights from the model and
// print token ids. Any other program gets its buffers from .npy files.
#include <cstdio>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/ablation_flags.h"
#include "cli/compile.h"
#include "cli/decoder.h"
#include "cli/device.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/model_source.h"
#include "cli/trace_flags.h"
#include "cli/verbs.h"

namespace mkvm::cli {
namespace {

struct RunFlags {
  std::string program;
  std::string model;
  std::string config;
  std::string prompt_ids;
  std::optional<int64_t> num_tokens;
  std::string device = "auto";
  std::string transport = "tagged";
  std::optional<int64_t> threads;
  std::optional<int64_t> max_passes;
  std::optional<int64_t> first_position;
  std::optional<double> watchdog_seconds;
  bool no_verify = false;
  bool ignore_eos = false;
  bool json = false;
  std::vector<std::string> binds;
  std::vector<std::string> dumps;
  AblationFlags ablations;
  TraceFlags trace;
  std::string command;  // as it was given
};

Flags MakeFlags(RunFlags& f) {
  Flags flags(
      "run [PROGRAM] [FLAGS]",
      "Runs a program (.bin or .mkasm). A program compiled from a model "
      "decodes greedily\nand prints token ids; any other takes its buffers "
      "from --bind and gives them by\n--dump. Without PROGRAM, the model is "
      "compiled in memory for the device found.");
  flags.Add("model", &f.model, "DIR|ORG/NAME|tiny|synthetic:SEED",
            "snapshot folder, one in the HuggingFace cache, the built-in\n"
            "model, or made-up weights ($MKVM_MODEL, else Qwen3-0.6B in the\n"
            "cache, else synthetic:1)");
  flags.Add("config", &f.config, "NAME",
            "geometry of synthetic weights when PROGRAM is not given\n"
            "(qwen3-0.6b on a GPU, qwen3-tiny on the CPU)");
  flags.Add("prompt_ids", &f.prompt_ids, "1,2,3", "token ids of the prompt");
  flags.Add("num_tokens,n", &f.num_tokens, "N",
            "tokens to generate at most (64)");
  flags.Add("ignore_eos", &f.ignore_eos, "go on after an end-of-text token");
  flags.Add("device", &f.device, "auto|cpu|cuda:K",
            "auto: a GPU if one works, else the CPU");
  flags.Add("threads", &f.threads, "N", "of the CPU machine (one per core)");
  flags.Add("transport", &f.transport, "tagged|counters",
            "how edges travel; same bits either way (tagged)");
  flags.Add("no_verify", &f.no_verify, "skip the verifier, at your own risk");
  flags.Add("watchdog_seconds", &f.watchdog_seconds, "S",
            "a wait longer than this is a fault (5 on a GPU, 60 on a CPU)");
  flags.Add("bind", &f.binds, "BUFFER=FILE.npy",
            "input, or instead of the model's; may be repeated");
  flags.Add("dump", &f.dumps, "BUFFER=FILE.npy",
            "output, after the run; may be repeated");
  flags.Add("max_passes", &f.max_passes, "N",
            "passes of a program without a model (1)");
  flags.Add("first_position", &f.first_position, "N",
            "position of the first pass of such a program (0)");
  f.trace.AddTo(flags);
  f.ablations.AddTo(flags);
  flags.Add("json", &f.json,
            "one JSON object to stdout; tokens_per_s counts every pass,\n"
            "those over the prompt too");
  return flags;
}

absl::Status CheckNumbers(const RunFlags& f) {
  const auto positive = [](auto value, absl::string_view flag) {
    if (!value || *value > 0) return absl::OkStatus();
    return UsageError(absl::StrCat("--", flag, " is not above 0"));
  };
  for (const absl::Status& s :
       {positive(f.num_tokens, "num_tokens"), positive(f.threads, "threads"),
        positive(f.max_passes, "max_passes"),
        positive(f.watchdog_seconds, "watchdog_seconds")}) {
    if (!s.ok()) return s;
  }
  if (f.first_position.value_or(0) < 0) {
    return UsageError("--first_position is below 0");
  }
  if (absl::Status s = f.ablations.Check(f.program); !s.ok()) return s;
  if (!f.trace.file.empty() && f.ablations.OfMachine()) {
    return UsageError(absl::StrCat(
        "--trace: a trace is of the machine with nothing switched off, not "
        "with ",
        f.ablations.Name()));
  }
  return f.trace.Check();
}

absl::StatusOr<Device> ChooseMachine(const RunFlags& f) {
  absl::StatusOr<Device> device = ChooseDevice(f.device);
  if (!device.ok()) return device;
  if (absl::Status s = f.ablations.ApplyTo(*device); !s.ok()) return s;
  return device;
}

vm::RunOptions MakeRunOptions(const RunFlags& f, const Device& device) {
  vm::RunOptions options;
  options.watchdog_seconds =
      f.watchdog_seconds.value_or(device.gpu ? 5.0 : 60.0);
  options.trace = f.trace.Options();
  return options;
}

absl::StatusOr<isa::Program> Prepare(isa::Program program, const RunFlags& f,
                                     absl::string_view path) {
  absl::StatusOr<isa::Program> ready =
      WithTransport(std::move(program), f.transport);
  if (!ready.ok() || f.no_verify) return ready;
  if (absl::Status s = CheckProgram(*ready, path); !s.ok()) return s;
  return ready;
}

absl::Status DumpAll(vm::Machine& machine, const RunFlags& f) {
  for (const std::string& dump : f.dumps) {
    if (absl::Status s = DumpFile(machine, dump); !s.ok()) return s;
  }
  return absl::OkStatus();
}

// ---- programs without a model -----------------------------------------------

absl::Status RunPlain(isa::Program program, const RunFlags& f,
                      const Device& device) {
  for (const auto& [given, flag] :
       {std::pair(!f.model.empty(), "model"),
        std::pair(!f.config.empty(), "config"),
        std::pair(!f.prompt_ids.empty(), "prompt_ids"),
        std::pair(f.num_tokens.has_value(), "num_tokens"),
        std::pair(f.ignore_eos, "ignore_eos")}) {
    if (given) {
      return UsageError(absl::StrFormat(
          "--%s: %s was not compiled from a model; it takes --bind and --dump",
          flag, f.program));
    }
  }
  std::vector<NpyArray> arrays;
  absl::StatusOr<std::unique_ptr<vm::Machine>> machine = CreateMachine(
      device, std::move(program), static_cast<int>(f.threads.value_or(0)));
  if (!machine.ok()) return machine.status();
  for (const std::string& bind : f.binds) {
    if (absl::Status s = BindFile(**machine, bind, arrays); !s.ok()) return s;
  }
  vm::RunOptions options = MakeRunOptions(f, device);
  options.max_passes = f.max_passes.value_or(1);
  options.first_position = f.first_position.value_or(0);
  absl::StatusOr<vm::RunResult> result = (*machine)->Run(options);
  if (!result.ok()) return result.status();
  if (absl::Status s = f.trace.Save(*result, f.command); !s.ok()) return s;
  if (absl::Status s = DumpAll(**machine, f); !s.ok()) return s;
  if (f.json) {
    absl::PrintF("{\"device\": \"%s\", \"passes\": %d, \"seconds\": %.6f}\n",
                 (*machine)->description(), result->passes, result->seconds);
  }
  absl::FPrintF(stderr, "%d pass%s in %.6f s on %s\n", result->passes,
                result->passes == 1 ? "" : "es", result->seconds,
                (*machine)->description());
  return absl::OkStatus();
}

// ---- decode programs --------------------------------------------------------

struct Generated {
  std::vector<int32_t> ids;
  std::vector<int64_t> positions;
};

void PrintJson(const std::vector<int32_t>& prompt, const Generated& generated,
               absl::string_view device, const vm::RunResult& result) {
  absl::PrintF(
      "{\"prompt_ids\": [%s], \"ids\": [%s], \"positions\": [%s], "
      "\"device\": \"%s\", \"passes\": %d, \"seconds\": %.6f, "
      "\"tokens_per_s\": %.3f}\n",
      absl::StrJoin(prompt, ", "), absl::StrJoin(generated.ids, ", "),
      absl::StrJoin(generated.positions, ", "), device, result.passes,
      result.seconds, result.passes / result.seconds);
}

// Prompt passes and generation in one launch. Position p holds token p; the
// pass at position p decides token p + 1. So the n-th generated token comes
// from the pass at prompt + n - 2, and `advance` stops at
// position + 1 == end_position == prompt + n - 1.
absl::Status Decode(Decoder& decoder, const std::vector<int32_t>& prompt,
                    const RunFlags& f, vm::RunOptions options) {
  const int64_t num_tokens = f.num_tokens.value_or(64);
  const int64_t prompt_tokens = static_cast<int64_t>(prompt.size());
  const int64_t end_position = prompt_tokens + num_tokens - 1;
  std::vector<int32_t> eos;
  if (!f.ignore_eos) eos = decoder.config().eos_token_ids;
  if (absl::Status s =
          decoder.SetTokens(prompt, prompt_tokens, end_position, eos);
      !s.ok()) {
    return s;
  }
  Generated generated;
  options.max_passes = end_position;
  options.on_token = [&](int64_t position, int32_t token) {
    if (!f.json) {
      absl::PrintF("%s%d", generated.ids.empty() ? "" : " ", token);
      std::fflush(stdout);
    }
    generated.ids.push_back(token);
    generated.positions.push_back(position);
  };
  absl::StatusOr<vm::RunResult> result = decoder.machine().Run(options);
  if (!f.json && !generated.ids.empty()) {
    absl::PrintF("\n");
    std::fflush(stdout);
  }
  if (!result.ok()) return result.status();
  const std::string device = decoder.machine().description();
  if (f.json) PrintJson(prompt, generated, device, *result);
  absl::FPrintF(stderr,
                "%d tokens after a prompt of %d: %d passes in %.4f s, "
                "%.1f tokens/s on %s\n",
                generated.ids.size(), prompt_tokens, result->passes,
                result->seconds, result->passes / result->seconds, device);
  return f.trace.Save(*result, f.command);
}

absl::Status CheckContext(int64_t end_position, int64_t max_context) {
  if (end_position <= max_context) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrFormat(
      "prompt and -n need %d positions, but there are %d; ask for fewer "
      "tokens, or compile the program with a larger --max_context",
      end_position, max_context));
}

absl::StatusOr<std::vector<int32_t>> ParsePrompt(const RunFlags& f) {
  absl::StatusOr<std::vector<int32_t>> prompt =
      ParseIds(f.prompt_ids, "--prompt_ids");
  if (prompt.ok() && prompt->empty()) {
    return UsageError("--prompt_ids is missing, e.g. --prompt_ids 9707,1879");
  }
  return prompt;
}

absl::Status RunDecode(isa::Program program,
                       std::unique_ptr<model::Weights> weights,
                       const std::vector<int32_t>& prompt, const RunFlags& f,
                       const Device& device) {
  const int64_t end_position =
      static_cast<int64_t>(prompt.size()) + f.num_tokens.value_or(64) - 1;
  if (absl::Status s = CheckContext(end_position, MaxContextTokens(program));
      !s.ok()) {
    return s;
  }
  absl::StatusOr<std::unique_ptr<Decoder>> decoder =
      Decoder::Create(device, std::move(program), std::move(weights),
                      static_cast<int>(f.threads.value_or(0)));
  if (!decoder.ok()) return decoder.status();
  if (absl::Status s = (*decoder)->Override(f.binds); !s.ok()) return s;
  if (absl::Status s = Decode(**decoder, prompt, f, MakeRunOptions(f, device));
      !s.ok()) {
    return s;
  }
  return DumpAll((*decoder)->machine(), f);
}

absl::Status RefuseForDecode(const RunFlags& f) {
  for (const auto& [given, flag] :
       {std::pair(f.max_passes.has_value(), "max_passes"),
        std::pair(f.first_position.has_value(), "first_position")}) {
    if (given) {
      return UsageError(absl::StrFormat(
          "--%s is for programs without a model; use -n", flag));
    }
  }
  return absl::OkStatus();
}

absl::Status RunFile(const RunFlags& f) {
  absl::StatusOr<isa::Program> read = ReadProgram(f.program);
  if (!read.ok()) return read.status();
  absl::StatusOr<isa::Program> program =
      Prepare(*std::move(read), f, f.program);
  if (!program.ok()) return program.status();
  if (!IsDecodeProgram(*program)) {
    absl::StatusOr<Device> device = ChooseMachine(f);
    if (!device.ok()) return device.status();
    return RunPlain(*std::move(program), f, *device);
  }
  if (absl::Status s = RefuseForDecode(f); !s.ok()) return s;
  if (!f.config.empty()) {
    return UsageError("--config: the program already says the geometry");
  }
  absl::StatusOr<std::vector<int32_t>> prompt = ParsePrompt(f);
  if (!prompt.ok()) return prompt.status();
  absl::StatusOr<Device> device = ChooseMachine(f);
  if (!device.ok()) return device.status();
  Geometry geometry;
  geometry.program = &*program;
  geometry.program_path = f.program;
  absl::StatusOr<std::unique_ptr<model::Weights>> weights =
      OpenModel(f.model, geometry);
  if (!weights.ok()) return weights.status();
  return RunDecode(*std::move(program), *std::move(weights), *prompt, f,
                   *device);
}

absl::Status RunModel(const RunFlags& f) {
  if (absl::Status s = RefuseForDecode(f); !s.ok()) return s;
  absl::StatusOr<std::vector<int32_t>> prompt = ParsePrompt(f);
  if (!prompt.ok()) return prompt.status();
  absl::StatusOr<Device> device = ChooseMachine(f);
  if (!device.ok()) return device.status();
  Geometry geometry;
  geometry.config = f.config;
  geometry.default_config = DefaultConfig(*device);
  absl::StatusOr<std::unique_ptr<model::Weights>> weights =
      OpenModel(f.model, geometry);
  if (!weights.ok()) return weights.status();
  const int64_t end_position =
      static_cast<int64_t>(prompt->size()) + f.num_tokens.value_or(64) - 1;
  scheduler::CompileOptions options;
  f.ablations.ApplyTo(options);
  absl::StatusOr<isa::Program> compiled =
      CompileFor((*weights)->config(), *device, end_position, false, options);
  if (!compiled.ok()) return compiled.status();
  absl::StatusOr<isa::Program> program =
      Prepare(*std::move(compiled), f, "the compiled program");
  if (!program.ok()) return program.status();
  absl::FPrintF(stderr, "compiled %s for %s\n", program->model,
                program->target.name);
  return RunDecode(*std::move(program), *std::move(weights), *prompt, f,
                   *device);
}

}  // namespace

absl::Status RunVerb(Args args) {
  RunFlags f;
  Flags flags = MakeFlags(f);
  absl::StatusOr<std::vector<std::string>> files = flags.Parse(args, 0, 1);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!files.ok()) return files.status();
  if (!files->empty()) f.program = files->front();
  if (absl::Status s = CheckNumbers(f); !s.ok()) return s;
  f.command = absl::StrCat("mkvm run ", absl::StrJoin(args, " "));
  return files->empty() ? RunModel(f) : RunFile(f);
}

}  // namespace mkvm::cli
