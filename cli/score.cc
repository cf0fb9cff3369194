// mkvm score: the logits after each of a list of given tokens.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/compile.h"
#include "cli/decoder.h"
#include "cli/device.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/model_source.h"
#include "cli/progress.h"
#include "cli/verbs.h"

namespace mkvm::cli {
namespace {

struct ScoreFlags {
  std::string model;
  std::string config;
  std::string ids;
  std::string positions;
  std::optional<int64_t> last;
  std::string device = "auto";
  std::string transport = "tagged";
  std::optional<int64_t> threads;
  std::vector<std::string> binds;
  std::string out;
};

Flags MakeFlags(ScoreFlags& f) {
  Flags flags("score --ids FILE -o LOGITS.npy [FLAGS]",
              "Teacher-forced logits: row i, float32, is what the model says "
              "after tokens 0..i.\nRows of all tokens, or of those asked for.");
  flags.Add("model", &f.model, "DIR|synthetic:SEED", "as for run");
  flags.Add("config", &f.config, "NAME",
            "geometry of synthetic weights (qwen3-0.6b on a GPU,\n"
            "qwen3-tiny on the CPU)");
  flags.Add("ids", &f.ids, "FILE",
            "token ids: text with spaces, commas or newlines, or .npy");
  flags.Add("positions", &f.positions, "0,9,99",
            "keep only these rows, ascending");
  flags.Add("last", &f.last, "N", "keep only the last N rows");
  flags.Add("device", &f.device, "auto|cpu|cuda:K", "as for run");
  flags.Add("threads", &f.threads, "N", "of the CPU machine (one per core)");
  flags.Add("transport", &f.transport, "tagged|counters", "as for run");
  flags.Add("bind", &f.binds, "BUFFER=FILE.npy",
            "instead of the model's; may be repeated");
  flags.Add("output,o", &f.out, "FILE.npy", "float32 [rows, vocab]");
  return flags;
}

absl::StatusOr<std::vector<int32_t>> ReadIds(const std::string& path) {
  std::vector<int32_t> ids;
  if (absl::EndsWith(path, ".npy")) {
    absl::StatusOr<NpyArray> array = ReadNpyFile(path);
    if (!array.ok()) return array.status();
    if (array->dtype != isa::DType::kI32) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": token ids are integers (<i4 or <i8)"));
    }
    const auto* begin = reinterpret_cast<const int32_t*>(array->data.data());
    ids.assign(begin, begin + array->data.size() / sizeof(int32_t));
  } else {
    absl::StatusOr<std::string> text = ReadFile(path);
    if (!text.ok()) return text.status();
    absl::StatusOr<std::vector<int32_t>> parsed = ParseIds(*text, path);
    // What a file holds is no mistake on the command line.
    if (!parsed.ok()) {
      return absl::InvalidArgumentError(parsed.status().message());
    }
    ids = *std::move(parsed);
  }
  if (ids.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " holds no ids"));
  }
  return ids;
}

// The positions whose rows are kept, ascending.
absl::StatusOr<std::vector<int64_t>> ChooseRows(const ScoreFlags& f,
                                                int64_t num_tokens) {
  std::vector<int64_t> rows;
  if (!f.positions.empty()) {
    absl::StatusOr<std::vector<int32_t>> given =
        ParseIds(f.positions, "--positions");
    if (!given.ok()) return given.status();
    rows.assign(given->begin(), given->end());
    if (rows.empty() ||
        std::adjacent_find(rows.begin(), rows.end(), std::greater_equal<>()) !=
            rows.end() ||
        rows.back() >= num_tokens) {
      return UsageError(absl::StrFormat(
          "--positions: not ascending positions below %d, the number of ids",
          num_tokens));
    }
    return rows;
  }
  const int64_t count = f.last.value_or(num_tokens);
  if (count < 1 || count > num_tokens) {
    return UsageError(absl::StrFormat("--last is not in 1..%d", num_tokens));
  }
  for (int64_t i = num_tokens - count; i < num_tokens; ++i) rows.push_back(i);
  return rows;
}

// Runs up to each wanted position and appends its logits to `file`: the
// buffer holds those of the last pass only.
absl::Status ScoreRows(Decoder& decoder, const std::vector<int64_t>& rows,
                       const Device& device, std::FILE* file,
                       const std::string& path) {
  vm::Machine& machine = decoder.machine();
  vm::RunOptions options;
  options.watchdog_seconds = device.gpu ? 5.0 : 60.0;
  std::vector<float> logits(decoder.config().vocab_size);
  const absl::Span<char> bytes(reinterpret_cast<char*>(logits.data()),
                               logits.size() * sizeof(float));
  double seconds = 0;
  for (int64_t row : rows) {
    options.max_passes = row + 1 - options.first_position;
    absl::StatusOr<vm::RunResult> result = machine.Run(options);
    if (!result.ok()) return result.status();
    seconds += result->seconds;
    options.first_position = row + 1;
    if (absl::Status s = machine.Read("logits", bytes); !s.ok()) return s;
    if (std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size()) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
    }
  }
  absl::FPrintF(stderr, "%d tokens scored, %d rows kept: %.3f s on %s\n",
                options.first_position, rows.size(), seconds,
                machine.description());
  return absl::OkStatus();
}

absl::Status WriteRows(Decoder& decoder, const std::vector<int64_t>& rows,
                       const Device& device, const std::string& path) {
  const bool to_stdout = path == "-";
  std::FILE* file = to_stdout ? stdout : std::fopen(path.c_str(), "wb");
  if (file == nullptr) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", path));
  }
  const std::string header =
      NpyHeader(isa::DType::kF32, {rows.size(), decoder.config().vocab_size});
  absl::Status status;
  if (std::fwrite(header.data(), 1, header.size(), file) != header.size()) {
    status = absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  }
  if (status.ok()) status = ScoreRows(decoder, rows, device, file, path);
  const int closed = to_stdout ? std::fflush(file) : std::fclose(file);
  if (closed != 0 && status.ok()) {
    status = absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  }
  return status;
}

absl::Status Score(const ScoreFlags& f) {
  absl::StatusOr<std::vector<int32_t>> ids = ReadIds(f.ids);
  if (!ids.ok()) return ids.status();
  const auto num_tokens = static_cast<int64_t>(ids->size());
  absl::StatusOr<std::vector<int64_t>> rows = ChooseRows(f, num_tokens);
  if (!rows.ok()) return rows.status();
  absl::StatusOr<Device> device = ChooseDevice(f.device);
  if (!device.ok()) return device.status();
  Geometry geometry;
  geometry.config = f.config;
  geometry.default_config = DefaultConfig(*device);
  absl::StatusOr<std::unique_ptr<model::Weights>> weights =
      OpenModel(f.model, geometry);
  if (!weights.ok()) return weights.status();
  absl::StatusOr<isa::Program> compiled =
      CompileFor((*weights)->config(), *device, num_tokens, true);
  if (!compiled.ok()) return compiled.status();
  absl::StatusOr<isa::Program> program =
      WithTransport(*std::move(compiled), f.transport);
  if (!program.ok()) return program.status();
  if (absl::Status s = CheckProgram(*program, "the compiled program");
      !s.ok()) {
    return s;
  }
  absl::StatusOr<std::unique_ptr<Decoder>> decoder =
      Decoder::Create(*device, *std::move(program), *std::move(weights),
                      static_cast<int>(f.threads.value_or(0)));
  if (!decoder.ok()) return decoder.status();
  if (absl::Status s = (*decoder)->Override(f.binds); !s.ok()) return s;
  // The prompt is everything, and the end lies beyond it: every next token is
  // given, and nothing stops the program but the number of passes.
  if (absl::Status s =
          (*decoder)->SetTokens(*ids, num_tokens, num_tokens + 1, {});
      !s.ok()) {
    return s;
  }
  return WriteRows(**decoder, *rows, *device, f.out);
}

}  // namespace

absl::Status ScoreVerb(Args args) {
  ScoreFlags f;
  Flags flags = MakeFlags(f);
  absl::StatusOr<std::vector<std::string>> none = flags.Parse(args, 0, 0);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!none.ok()) return none.status();
  if (f.ids.empty()) return UsageError("score needs --ids FILE");
  if (f.out.empty()) return UsageError("score needs -o FILE.npy");
  if (!f.positions.empty() && f.last) {
    return UsageError("--positions and --last exclude each other");
  }
  if (f.threads && *f.threads < 1) {
    return UsageError("--threads is not above 0");
  }
  return Score(f);
}

}  // namespace mkvm::cli
