// mkvm tokenize: text -> token ids.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/model_folder.h"
#include "cli/verbs.h"
#include "model/tokenizer.h"
#include "nlohmann/json.hpp"

namespace mkvm::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct TokenizeFlags {
  std::string model;
  std::string file;
  bool parse_special = true;
  bool json = false;
  std::optional<int64_t> benchmark;
};

Flags MakeFlags(TokenizeFlags& f) {
  Flags flags("tokenize [TEXT|-] [--file FILE] [FLAGS]",
              "Prints the token ids of a text, as HuggingFace's tokenizer of "
              "the model gives them.\nNothing is put in front or behind. \"-\" "
              "reads stdin.");
  flags.Add("model,m", &f.model, "DIR|ORG/NAME|tiny",
            "a snapshot, one in the HuggingFace cache, the built-in model,\n"
            "or a tokenizer.json ($MKVM_MODEL, else Qwen3-0.6B in the\n"
            "cache, else the built-in model)");
  flags.Add("file,f", &f.file, "FILE", "the text, to the last byte");
  flags.Add("parse_special", &f.parse_special,
            "take \"<|im_end|>\" and the like in the text for the tokens\n"
            "(true)");
  flags.Add("json", &f.json, "one object: num_tokens, ids, tokens");
  flags.Add("benchmark", &f.benchmark, "N",
            "tokenize N times and print the speed instead");
  return flags;
}

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

absl::StatusOr<std::string> ReadInput(
    const TokenizeFlags& f, const std::vector<std::string>& positionals) {
  if (positionals.empty() == f.file.empty()) {
    return UsageError("give either TEXT (\"-\" for stdin) or --file FILE");
  }
  if (positionals.empty()) return ReadFile(f.file);
  if (positionals[0] == "-") return ReadFile("-");
  return positionals[0];
}

absl::Status Print(const model::Tokenizer& tokenizer,
                   const std::vector<int32_t>& ids, bool json) {
  if (!json) return WriteFile("-", absl::StrCat(absl::StrJoin(ids, " "), "\n"));
  std::vector<std::string> names;
  for (const int32_t id : ids) {
    absl::StatusOr<std::string> name = tokenizer.NameOf(id);
    if (!name.ok()) return name.status();
    names.push_back(*std::move(name));
  }
  nlohmann::ordered_json object;
  object["num_tokens"] = ids.size();
  object["ids"] = ids;
  object["tokens"] = std::move(names);
  return WriteFile("-", absl::StrCat(object.dump(), "\n"));
}

absl::Status Benchmark(const model::Tokenizer& tokenizer,
                       const std::string& text, const TokenizeFlags& f,
                       double load_s) {
  std::vector<double> seconds;
  size_t num_tokens = 0;
  for (int64_t i = 0; i < *f.benchmark; ++i) {
    const Clock::time_point begin = Clock::now();
    const auto ids = tokenizer.Encode(text, f.parse_special);
    seconds.push_back(SecondsSince(begin));
    if (!ids.ok()) return ids.status();
    num_tokens = ids->size();
  }
  std::sort(seconds.begin(), seconds.end());
  const double median_s = seconds[seconds.size() / 2];
  const double mb_per_s = static_cast<double>(text.size()) / median_s / 1e6;
  if (!f.json) {
    return WriteFile(
        "-", absl::StrFormat("%d bytes, %d tokens: %.1f MB/s (median of %d; "
                             "%.1f to %.1f ms), loaded in %.0f ms\n",
                             text.size(), num_tokens, mb_per_s, seconds.size(),
                             seconds.front() * 1e3, seconds.back() * 1e3,
                             load_s * 1e3));
  }
  nlohmann::ordered_json object;
  object["num_bytes"] = text.size();
  object["num_tokens"] = num_tokens;
  object["mb_per_s"] = mb_per_s;
  object["seconds"] = seconds;
  object["load_seconds"] = load_s;
  return WriteFile("-", absl::StrCat(object.dump(), "\n"));
}

}  // namespace

absl::Status TokenizeVerb(Args args) {
  TokenizeFlags f;
  Flags flags = MakeFlags(f);
  absl::StatusOr<std::vector<std::string>> positionals =
      flags.Parse(args, 0, 1);
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!positionals.ok()) return positionals.status();
  if (f.benchmark.value_or(1) < 1) {
    return UsageError("--benchmark is not above 0");
  }
  const absl::StatusOr<std::string> folder = FindModelFolder(f.model);
  if (!folder.ok()) return folder.status();
  absl::StatusOr<std::string> text = ReadInput(f, *positionals);
  if (!text.ok()) return text.status();
  const Clock::time_point begin = Clock::now();
  const auto tokenizer = model::Tokenizer::Load(*folder);
  if (!tokenizer.ok()) return tokenizer.status();
  if (f.benchmark.has_value()) {
    return Benchmark(*tokenizer, *text, f, SecondsSince(begin));
  }
  const auto ids = tokenizer->Encode(*text, f.parse_special);
  if (!ids.ok()) return ids.status();
  return Print(*tokenizer, *ids, f.json);
}

}  // namespace mkvm::cli
